// The simulated reactor under watch: at the seam between coroutines and kernel each operation has to complete exactly
// once, with a result that it can have, and time has to go on. ROTA_FUZZ_PLANT=<n> in the environment plants a bug there,
// to see that it is found:
//   1  a completion comes twice
//   2  a completion is lost
//   3  a read that got bytes is told as cancelled, if a cancel was asked for (rule R2)
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>

#include <rota/testing/simulated_reactor.hpp>

#include "fuzz/fuzz.hpp"

namespace rota_fuzz {

class watched_reactor final : public rota::detail::simulated_reactor {
  using nanoseconds = rota::detail::nanoseconds;
  using operation = rota::detail::operation;

 public:
  using simulated_reactor::simulated_reactor;

  nanoseconds now() noexcept override {
    const nanoseconds t = simulated_reactor::now();
    require(t >= last_now_, "virtual time went backwards");
    return last_now_ = t;
  }

  void wake() noexcept override {
    woken_ = true;
    simulated_reactor::wake();
  }

  void wait(nanoseconds deadline, rota::detail::completion_list& done) override {
    const bool nothing_left = network().next_event() == rota::detail::never && !has_completions();
    require(deadline != rota::detail::never || woken_ || !nothing_left, "every task is blocked for ever");
    woken_ = false;
    rota::detail::completion_list from_below;
    simulated_reactor::wait(deadline, from_below);
    if (plant() == 1 && planted_) check(*planted_);
    while (operation* op = from_below.pop()) {
      if (plant() == 1) planted_ = op;
      if (plant() == 2 && op->cancel_requested && op->result > 0) continue;
      if (plant() == 3 && op->cancel_requested && op->result > 0 && op->code == rota::detail::opcode::recv)
        op->result = -ECANCELED;
      check(*op);
      done.push(*op);
    }
  }

 protected:
  submitted start(operation& op, rota::detail::descriptor& d) noexcept override {
    const submitted how = simulated_reactor::start(op, d);
    if (how == submitted::completed) {
      check_result(op);
    } else {
      require(under_way_.emplace(&op, op.fd).second, "an operation was submitted twice");
    }
    return how;
  }
  void stop(operation& op) noexcept override {
    require(under_way_.count(&op) == 1, "a cancel of an operation that is not under way");
    simulated_reactor::stop(op);
  }

 private:
  static int plant() noexcept {
    static const char* const wish = std::getenv("ROTA_FUZZ_PLANT");
    return wish ? std::atoi(wish) : 0;
  }

  // The memory of an operation that has completed before may be gone: it is looked at last.
  void check(operation& op) {
    const auto found = under_way_.find(&op);
    require(found != under_way_.end(), "an operation completed that was not under way");
    require(op.fd == found->second, "an operation was changed while it was under way");
    under_way_.erase(found);
    require(!op.in_flight, "an operation completed and is in flight");
    check_result(op);
  }
  static void check_result(const operation& op) {
    using rota::detail::opcode;
    if (op.code == opcode::recv || op.code == opcode::send)
      require(op.result <= static_cast<std::int64_t>(op.size), "more bytes than the buffer has");
    if (op.code == opcode::send && op.all)
      require(op.result < 0 || op.result == static_cast<std::int64_t>(op.size),
              "a write of everything ended in the middle");
    require(op.result != -EAGAIN && op.result != -EINTR, "a result that no program should see");
    require(op.result != -ECANCELED || op.cancel_requested, "cancelled, and nobody asked");
    require(op.result != -EBADF || op.closing, "closed, and nobody did");
  }

  std::map<const operation*, int> under_way_;  // and their descriptors
  nanoseconds last_now_ = 0;
  bool woken_ = false;
  operation* planted_ = nullptr;
};

}  // namespace rota_fuzz
