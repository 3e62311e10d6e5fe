#include <rota/net/address.hpp>

#include <set>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/rota_test.hpp"

using rota::address;

TEST_CASE("an IPv4 address is what was written") {
  const address a("127.0.0.1", 80);
  CHECK(a.host() == "127.0.0.1");
  CHECK(a.port() == 80);
  CHECK(a.to_string() == "127.0.0.1:80");
  CHECK_FALSE(a.is_ipv6());
  CHECK(a.family() == AF_INET);
  CHECK(a.size() == sizeof(sockaddr_in));
  CHECK(address("255.255.255.255", 65535).to_string() == "255.255.255.255:65535");
}

TEST_CASE("an IPv6 address is shown in its shortest form, with brackets before the port") {
  const address a("2001:0DB8::0:1", 443);
  CHECK(a.is_ipv6());
  CHECK(a.host() == "2001:db8::1");
  CHECK(a.to_string() == "[2001:db8::1]:443");
  CHECK(a.size() == sizeof(sockaddr_in6));
  CHECK(address("::", 0).to_string() == "[::]:0");
  CHECK(address("::ffff:1.2.3.4", 1).host() == "::ffff:1.2.3.4");
}

TEST_CASE("brackets around an IPv6 address are optional") {
  CHECK(address("[::1]", 7) == address("::1", 7));
  CHECK(address("[fe80::1%3]", 7) == address("fe80::1%3", 7));
}

TEST_CASE("a scope is kept and shown") {
  const address a("fe80::1%2", 5);
  CHECK(a.host() == "fe80::1%2");
  CHECK(a.to_string() == "[fe80::1%2]:5");
  CHECK_FALSE(a == address("fe80::1", 5));
  CHECK_FALSE(a == address("fe80::1%3", 5));
}

TEST_CASE("localhost is 127.0.0.1; nothing and a star are every IPv4 interface") {
  CHECK(address("localhost", 1) == address("127.0.0.1", 1));
  CHECK(address("", 1) == address("0.0.0.0", 1));
  CHECK(address("*", 1) == address("0.0.0.0", 1));
  CHECK(address() == address("0.0.0.0", 0));
}

TEST_CASE("an address of the kernel's type is taken as it is") {
  in_addr loopback;
  loopback.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(address(loopback, 9) == address("127.0.0.1", 9));
}

TEST_CASE("what is no numeric address is refused, and the text says what it was") {
  using namespace std::string_view_literals;
  for (const std::string_view host : {"example.org"sv,
                                      "127.0.0"sv,
                                      "127.0.0.256"sv,
                                      "1.2.3.4.5"sv,
                                      " 127.0.0.1"sv,
                                      "127.0.0.1 "sv,
                                      "127.0.0.1:80"sv,
                                      "::1::"sv,
                                      "12345::"sv,
                                      "[::1"sv,
                                      "::1]"sv,
                                      "[]"sv,
                                      "fe80::1%eth0"sv,
                                      "fe80::1%"sv,
                                      "fe80::1%2x"sv,
                                      "fe80::1%99999999999"sv,
                                      "127.0.0.1%2"sv,
                                      "%2"sv,
                                      "127.0.0.1\0.example.org"sv,
                                      "::1\0"sv,
                                      "LOCALHOST."sv,
                                      "0x7f.0.0.1"sv}) {
    const std::string name(host);
    INFO("'" << name << "'");
    std::error_code code;
    std::string text;
    try {
      const address a(host, 80);
      text = "accepted as " + a.to_string();
    } catch (const std::system_error& error) {
      code = error.code();
      text = error.what();
    }
    INFO(text);
    CHECK(code == rota::errc::name_not_numeric);
    CHECK(text.find("'" + name.substr(0, name.find('\0'))) != std::string::npos);
  }
}

TEST_CASE("a host of any length is refused without harm") {
  for (const std::size_t length : {45u, 46u, 61u, 62u, 63u, 1000u}) {
    const std::error_code code = rota_test::error_code_of([&] { return address(std::string(length, '1'), 1).port(); });
    CHECK(code == rota::errc::name_not_numeric);
  }
}

TEST_CASE("addresses are equal when family, host, port and scope are") {
  CHECK(address("1.2.3.4", 5) == address("1.2.3.4", 5));
  CHECK_FALSE(address("1.2.3.4", 5) == address("1.2.3.4", 6));
  CHECK_FALSE(address("1.2.3.4", 5) == address("1.2.3.5", 5));
  CHECK_FALSE(address("0.0.0.0", 5) == address("::", 5));
  CHECK(address("::1", 5) == address("0:0:0:0:0:0:0:1", 5));
  CHECK_FALSE(address("::1", 5) == address("::2", 5));
}

TEST_CASE("what an address shows, it reads again") {
  for (const char* host : {"0.0.0.0", "10.1.2.3", "::", "::1", "fe80::abcd%7", "2001:db8:1:2:3:4:5:6"}) {
    const address a(host, 4711);
    CHECK(address(a.host(), a.port()) == a);
  }
}
