// The simulated world that hosts share: their time, the faults that strike them, the trace of what they do, and who has
// which address.
#pragma once

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rota/base/random.hpp>
#include <rota/net/address.hpp>
#include <rota/testing/faults.hpp>
#include <rota/testing/simulation_options.hpp>
#include <rota/testing/trace.hpp>
#include <rota/testing/virtual_clock.hpp>
#include <rota/testing/virtual_host.hpp>

namespace rota::detail {

class virtual_world {
 public:
  explicit virtual_world(const testing::simulation_options& wishes)
      : options(wishes),
        faults(wishes.seed, wishes.faults, wishes.script ? &*wishes.script : nullptr),
        order(wishes.seed ^ 0x6f72646572u),
        record(wishes.keep_trace) {}
  virtual_world(const virtual_world&) = delete;
  virtual_world& operator=(const virtual_world&) = delete;

  const testing::simulation_options options;
  virtual_clock clock;
  fault_plan faults;
  random order;  // of completions and turns
  testing::trace record;

  std::size_t add_host(std::string name) {
    in_addr ip{};
    ip.s_addr = htonl(0x0a000000u + static_cast<std::uint32_t>(hosts_.size()) + 1);
    hosts_.push_back(std::make_unique<virtual_host>(std::move(name), address(ip, 0), options));
    return hosts_.size() - 1;
  }
  virtual_host& host(std::size_t index) const noexcept { return *hosts_[index]; }
  std::size_t hosts() const noexcept { return hosts_.size(); }
  /// Begins a line of the trace.
  testing::trace& note(std::size_t at_host) {
    return record.line(clock.now() - virtual_clock::start_time).word(host(at_host).name);
  }

 protected:
  ~virtual_world() = default;

  static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);
  std::size_t host_of(std::size_t asking, const address& to) {
    if (is_any(to) || is_loopback(to)) return asking;
    for (std::size_t i = 0; i != hosts_.size(); ++i)
      if (same_host(hosts_[i]->at, to)) return i;
    return nowhere;
  }
  address source_of(const endpoint& e, const address& to) {
    if (is_loopback(to) || is_any(to)) return e.family == AF_INET6 ? address("::1", 0) : address("127.0.0.1", 0);
    return host(e.host).at;
  }

 private:
  std::vector<std::unique_ptr<virtual_host>> hosts_;
};

}  // namespace rota::detail
