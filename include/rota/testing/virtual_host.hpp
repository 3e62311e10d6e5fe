// A simulated host: its sockets by number, and which ports and addresses they have.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rota/net/address.hpp>
#include <rota/testing/simulation_options.hpp>
#include <rota/testing/virtual_connection.hpp>

namespace rota::detail {

/// Who works with a host's sockets: its reactor.
class socket_user {
 public:
  /// Something may be possible now that was not.
  virtual void socket_changed(int number) noexcept = 0;
  /// What wake_at() asked for.
  virtual void woken(int number, std::uint32_t ticket) noexcept = 0;

 protected:
  ~socket_user() = default;
};

// ---- addresses

inline bool is_any(const address& a) { return a.host() == "0.0.0.0" || a.host() == "::"; }
inline bool is_loopback(const address& a) {
  return a.is_ipv6() ? a.host() == "::1" : a.host().compare(0, 4, "127.") == 0;
}
inline bool same_host(const address& a, const address& b) { return a.host() == b.host(); }
inline address any_of(int family) { return family == AF_INET6 ? address("::", 0) : address(); }
inline address with_port(const address& a, std::uint16_t port) { return address(a.host(), port); }
// A listener of both families sees IPv4 addresses as IPv6 ones.
inline address as_family(int family, const address& a) {
  return family == a.family() ? a : address("::ffff:" + a.host(), a.port());
}

class virtual_host {
 public:
  static constexpr int first_number = 1 << 20;  // above what Linux gives (fs.nr_open)

  virtual_host(std::string called, const address& where, const testing::simulation_options& options)
      : name(std::move(called)), at(where), options_(options) {}

  const std::string name;
  const address at;  // port 0
  socket_user* user = nullptr;
  bool up = true;
  std::uint32_t life = 0;  // counts crashes
  std::vector<std::unique_ptr<endpoint>> sockets;

  // ---- numbers

  endpoint* find(int number) const noexcept {
    const std::int64_t index = std::int64_t{number} - first_number;
    if (index < 0 || index >= static_cast<std::int64_t>(sockets.size())) return nullptr;
    return sockets[static_cast<std::size_t>(index)].get();
  }
  /// Gives it the lowest free number, as POSIX has it; -EMFILE leaves it where it is.
  int take_number(std::unique_ptr<endpoint>& e) {
    std::size_t index = 0;
    while (index != sockets.size() && sockets[index]) ++index;
    if (index >= options_.most_descriptors) return -EMFILE;
    if (index == sockets.size()) sockets.emplace_back();
    e->number = first_number + static_cast<int>(index);
    sockets[index] = std::move(e);
    return first_number + static_cast<int>(index);
  }
  std::unique_ptr<endpoint> release_number(int number) noexcept {
    return find(number) ? std::move(sockets[static_cast<std::size_t>(number - first_number)]) : nullptr;
  }
  /// Sockets that are open, those in backlogs too.
  std::size_t open_sockets() const noexcept {
    std::size_t n = 0;
    for (const std::unique_ptr<endpoint>& e : sockets)
      if (e) n += 1 + e->waiting.size();
    return n;
  }

  // ---- ports

  void take_port(endpoint& e, std::uint16_t port) {
    e.bound = e.counts_port = true;
    ++ports_[port];
  }
  void release_port(const endpoint& e) {
    const auto found = ports_.find(e.local.port());
    if (found != ports_.end() && --found->second == 0) ports_.erase(found);
  }
  /// 0: none is left.
  std::uint16_t free_port() {
    const std::size_t count = std::size_t{options_.last_port} - options_.first_port + 1;
    for (std::size_t i = 0; i != count; ++i) {
      if (next_port_ < options_.first_port || next_port_ > options_.last_port) next_port_ = options_.first_port;
      const std::uint16_t port = next_port_++;
      if (ports_.count(port) == 0) return port;
    }
    return 0;
  }
  /// Another socket keeps `e` from being bound to it.
  bool is_taken(const endpoint& e, const address& where, std::uint16_t port) const {
    for (const std::unique_ptr<endpoint>& other : sockets) {
      if (!other || !other->bound || !other->counts_port || other->local.port() != port) continue;
      if (!overlap(e, where, *other)) continue;
      if (e.reuse_port && other->reuse_port) continue;
      if (e.reuse_address && other->reuse_address && other->is != endpoint::state::listening) continue;
      return true;
    }
    return false;
  }

  /// Who listens there. With SO_REUSEPORT several do: the requests, which are numbered, go round.
  endpoint* listener_at(const address& to, std::uint64_t& requests) const {
    std::vector<endpoint*> found;
    for (const std::unique_ptr<endpoint>& e : sockets) {
      if (!e || e->is != endpoint::state::listening || e->local.port() != to.port()) continue;
      const bool fits = e->family == to.family() ? is_any(e->local) || same_host(e->local, to)
                                                 : e->family == AF_INET6 && !e->ipv6_only && is_any(e->local);
      if (fits) found.push_back(e.get());
    }
    return found.empty() ? nullptr : found[requests++ % found.size()];
  }

  void lose_everything() noexcept {
    sockets.clear();
    ports_.clear();
  }

 private:
  static bool overlap(const endpoint& e, const address& where, const endpoint& other) {
    if (e.family != other.family) {
      const endpoint& six = e.family == AF_INET6 ? e : other;
      return !six.ipv6_only && (is_any(where) || is_any(other.local));
    }
    return is_any(where) || is_any(other.local) || same_host(where, other.local);
  }

  const testing::simulation_options& options_;
  std::map<std::uint16_t, int> ports_;  // in use, by how many
  std::uint16_t next_port_ = 0;
};

}  // namespace rota::detail
