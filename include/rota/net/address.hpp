// Where a socket is: an IPv4 or IPv6 address and a port.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>

#include <rota/base/error.hpp>

namespace rota {

/// A value of 28 bytes. Names are not resolved: host is a numeric address, "localhost" (127.0.0.1), or "" and "*"
/// for every IPv4 interface.
class address {
 public:
  /// 0.0.0.0, port 0.
  address() noexcept : address(in_addr{INADDR_ANY}, 0) {}
  /// Throws std::system_error with errc::name_not_numeric. "::1", "fe80::1%2" and "[::1]" are IPv6.
  address(std::string_view host, std::uint16_t port) {
    if (!parse(host, port))
      throw std::system_error(make_error_code(errc::name_not_numeric), "'" + std::string(host) + "'");
  }
  address(in_addr host, std::uint16_t port) noexcept {
    std::memset(&storage_, 0, sizeof storage_);
    storage_.v4.sin_family = AF_INET;
    storage_.v4.sin_port = htons(port);
    storage_.v4.sin_addr = host;
  }

  bool is_ipv6() const noexcept { return family() == AF_INET6; }
  int family() const noexcept { return storage_.any.sa_family; }
  std::uint16_t port() const noexcept { return ntohs(is_ipv6() ? storage_.v6.sin6_port : storage_.v4.sin_port); }

  /// The address without the port: "127.0.0.1", "::1".
  std::string host() const {
    char text[INET6_ADDRSTRLEN] = "?";
    if (is_ipv6()) {
      ::inet_ntop(AF_INET6, &storage_.v6.sin6_addr, text, sizeof text);
      if (storage_.v6.sin6_scope_id != 0) return std::string(text) + "%" + std::to_string(storage_.v6.sin6_scope_id);
    } else {
      ::inet_ntop(AF_INET, &storage_.v4.sin_addr, text, sizeof text);
    }
    return text;
  }
  /// "127.0.0.1:80", "[::1]:80".
  std::string to_string() const {
    std::string text;  // by +=: of "[" + host(), g++ 12 -O3 says falsely that it overlaps (-Wrestrict)
    if (is_ipv6()) text += '[';
    text += host();
    if (is_ipv6()) text += ']';
    text += ':';
    text += std::to_string(port());
    return text;
  }

  friend bool operator==(const address& a, const address& b) noexcept {
    if (a.family() != b.family() || a.port() != b.port()) return false;
    if (!a.is_ipv6()) return a.storage_.v4.sin_addr.s_addr == b.storage_.v4.sin_addr.s_addr;
    return std::memcmp(&a.storage_.v6.sin6_addr, &b.storage_.v6.sin6_addr, sizeof(in6_addr)) == 0 &&
           a.storage_.v6.sin6_scope_id == b.storage_.v6.sin6_scope_id;
  }

  // For system calls.
  const sockaddr* data() const noexcept { return &storage_.any; }
  sockaddr* data() noexcept { return &storage_.any; }
  socklen_t size() const noexcept {
    return static_cast<socklen_t>(is_ipv6() ? sizeof storage_.v6 : sizeof storage_.v4);
  }
  static constexpr socklen_t capacity = sizeof(sockaddr_in6);

 private:
  bool parse(std::string_view host, std::uint16_t port) noexcept {
    std::memset(&storage_, 0, sizeof storage_);
    if (host.empty() || host == "*") host = "0.0.0.0";
    if (host == "localhost") host = "127.0.0.1";
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    char text[INET6_ADDRSTRLEN + 16] = {};
    if (host.size() >= sizeof text || host.find('\0') != host.npos) return false;
    std::memcpy(text, host.data(), host.size());
    if (::inet_pton(AF_INET, text, &storage_.v4.sin_addr) == 1) {
      storage_.v4.sin_family = AF_INET;
      storage_.v4.sin_port = htons(port);
      return true;
    }
    if (char* zone = std::strchr(text, '%')) {
      *zone++ = 0;
      if (*zone < '0' || *zone > '9') return false;  // strtoul would take a sign or a space
      char* rest = nullptr;
      const unsigned long scope = std::strtoul(zone, &rest, 10);
      if (*rest != 0 || scope > UINT32_MAX) return false;
      storage_.v6.sin6_scope_id = static_cast<std::uint32_t>(scope);
    }
    if (::inet_pton(AF_INET6, text, &storage_.v6.sin6_addr) != 1) return false;
    storage_.v6.sin6_family = AF_INET6;
    storage_.v6.sin6_port = htons(port);
    return true;
  }

  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } storage_;
};

}  // namespace rota
