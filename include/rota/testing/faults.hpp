// Which faults strike a simulated run, and when: drawn from the seed, or written down one by one.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <rota/base/random.hpp>

namespace rota::testing {

/// What can go wrong. All of it is legal: what a real kernel and network do on a bad day.
enum class fault : std::uint8_t {
  short_read,        ///< recv, recvmsg: fewer bytes than there are
  short_write,       ///< send, sendmsg: fewer bytes than there is room for; write_all goes on later
  delay,             ///< an operation that could complete at once waits a while, as after EAGAIN
  connection_reset,  ///< the connection breaks under a read or a write: ECONNRESET, then EPIPE, at both ends
  no_buffers,        ///< send, connect: ENOBUFS
  no_memory,         ///< recv, socket: ENOMEM
  too_many_files,    ///< socket, accept: EMFILE; the connection stays in the backlog
  interrupted,       ///< EINTR: a wait of the reactor ends early, with nothing
  late_cancel,       ///< a cancel takes effect a while later; what completes meanwhile is a success
  beaten_cancel,     ///< a cancel comes too late for what can be done right now: it succeeds
  clock_stall,       ///< a host's clock stands still for a while, then jumps
  // Of hosts, and of the links between them: the rounds of a storm() are their opportunities.
  partition,  ///< of two hosts
  hold,       ///< between two hosts
  heal,       ///< the end of either
  crash,      ///< of a host, which stays down until its restart
  restart,    ///< of a host, whether or not it is down
};
inline constexpr std::size_t fault_kinds = 16;

inline std::string_view to_string(fault kind) noexcept {
  constexpr std::array<std::string_view, fault_kinds> names{
      "short_read",     "short_write", "delay",       "connection_reset", "no_buffers",  "no_memory",
      "too_many_files", "interrupted", "late_cancel", "beaten_cancel",    "clock_stall", "partition",
      "hold",           "heal",        "crash",       "restart"};
  return names[static_cast<std::size_t>(kind)];
}

/// One fault of a script: the `nth` opportunity of its kind in the run, counted from 1.
struct fault_at {
  fault kind = fault::delay;
  std::uint64_t nth = 1;
  friend bool operator==(const fault_at&, const fault_at&) = default;
};

/// "short_read@3,delay@17"; empty for none. to_script() and fault_script() are each other's inverse.
inline std::string to_script(const std::vector<fault_at>& faults) {
  std::string text;
  for (const fault_at& f : faults) {
    if (!text.empty()) text += ',';
    text += to_string(f.kind);
    text += '@';
    text += std::to_string(f.nth);
  }
  return text;
}
/// Throws std::invalid_argument, which names what it does not understand.
inline std::vector<fault_at> fault_script(std::string_view text) {
  std::vector<fault_at> faults;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const std::size_t at = item.find('@');
    fault_at f;
    std::size_t kind = 0;
    while (kind != fault_kinds && to_string(static_cast<fault>(kind)) != item.substr(0, at)) ++kind;
    bool understood = kind != fault_kinds && at != std::string_view::npos;
    if (understood) {
      const char* const end = item.data() + item.size();
      const auto [rest, error] = std::from_chars(item.data() + at + 1, end, f.nth);
      understood = error == std::errc() && rest == end && f.nth != 0;
    }
    if (!understood) throw std::invalid_argument("'" + std::string(item) + "' is no fault; one is short_read@3");
    f.kind = static_cast<fault>(kind);
    faults.push_back(f);
  }
  return faults;
}

/// How often each fault strikes, in parts of a thousand of its opportunities. All zero: a perfect world.
class fault_rates {
 public:
  constexpr fault_rates() noexcept = default;
  /// Every kind at the same rate.
  static constexpr fault_rates all(std::uint16_t per_thousand) noexcept {
    fault_rates rates;
    rates.per_thousand_.fill(per_thousand);
    return rates;
  }
  /// All kinds that a program can live through without noticing: no errors, only sizes, orders and times.
  static constexpr fault_rates harmless(std::uint16_t per_thousand) noexcept {
    return all(per_thousand)
        .set(fault::connection_reset, 0)
        .set(fault::no_buffers, 0)
        .set(fault::no_memory, 0)
        .set(fault::too_many_files, 0)
        .set_hosts(0);
  }
  constexpr fault_rates& set(fault kind, std::uint16_t per_thousand) noexcept {
    per_thousand_[static_cast<std::size_t>(kind)] = per_thousand;
    return *this;
  }
  /// partition, hold, heal, crash and restart, each at this rate of the rounds of a storm().
  constexpr fault_rates& set_hosts(std::uint16_t per_thousand) noexcept {
    for (const fault kind : {fault::partition, fault::hold, fault::heal, fault::crash, fault::restart})
      set(kind, per_thousand);
    return *this;
  }
  constexpr std::uint16_t of(fault kind) const noexcept { return per_thousand_[static_cast<std::size_t>(kind)]; }

 private:
  std::array<std::uint16_t, fault_kinds> per_thousand_{};
};

}  // namespace rota::testing

namespace rota::detail {

/// Decides at each opportunity. A decision depends on the seed, the kind and its number only: leaving a fault out of a
/// script changes no other decision, which is what lets a failure be made smaller.
class fault_plan {
 public:
  fault_plan(std::uint64_t seed, testing::fault_rates rates, const std::vector<testing::fault_at>* script)
      : seed_(seed), rates_(rates), scripted_(script != nullptr) {
    if (!script) return;
    for (const testing::fault_at& f : *script) script_[static_cast<std::size_t>(f.kind)].push_back(f.nth);
    for (std::vector<std::uint64_t>& of_kind : script_) std::sort(of_kind.begin(), of_kind.end());
  }

  bool strikes(testing::fault kind) noexcept {
    const std::uint64_t nth = ++opportunities_[static_cast<std::size_t>(kind)];
    bool hit = false;
    if (scripted_) {
      const std::vector<std::uint64_t>& of_kind = script_[static_cast<std::size_t>(kind)];
      hit = std::binary_search(of_kind.begin(), of_kind.end(), nth);
    } else if (const std::uint64_t rate = rates_.of(kind); rate != 0) {
      hit = draw(kind, nth, 0) % 1000 < rate;
    }
    if (!hit) return false;
    try {
      struck_.push_back({kind, nth});
    } catch (const std::bad_alloc&) {
      return false;  // what cannot be written down does not happen
    }
    return true;
  }
  /// A number below `bound` that belongs to the kind's present opportunity: how short, how long.
  std::uint64_t amount(testing::fault kind, std::uint64_t bound) const noexcept {
    return bound == 0 ? 0 : draw(kind, opportunities_[static_cast<std::size_t>(kind)], 1) % bound;
  }
  /// In the order in which they struck.
  const std::vector<testing::fault_at>& struck() const noexcept { return struck_; }

 private:
  std::uint64_t draw(testing::fault kind, std::uint64_t nth, std::uint64_t what) const noexcept {
    random mixed(seed_ ^ (nth * 0x9e3779b97f4a7c15u) ^ ((static_cast<std::uint64_t>(kind) * 2 + what + 1) << 56));
    return mixed.next();
  }

  const std::uint64_t seed_;
  const testing::fault_rates rates_;
  const bool scripted_;
  std::array<std::vector<std::uint64_t>, testing::fault_kinds> script_;  // sorted
  std::array<std::uint64_t, testing::fault_kinds> opportunities_{};
  std::vector<testing::fault_at> struck_;
};

}  // namespace rota::detail
