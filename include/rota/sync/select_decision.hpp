// Which case of a select has happened, where some of them are for any thread: several threads may give it something at the
// same moment, and it takes one thing.
//
// Whoever gives an item, a permit or a lock to a case claims the decision first, under the lock of the list in which the
// case stands; nothing is moved before. If it is claimed already, the case has lost: it is taken out of the list, and the
// next waiter gets what there is, in its order. So what a loser could have had was never out of its place.
//
//   claim        by a giver, under its list's lock (in a wait_list: on its loop), or by the select's own executor, when a
//                child has ended or the scope is cancelled. The first one wins; a decision is never taken back.
//   claim_both   a giver that stands in a select meets a taker that stands in another one: both or none.
//   claim_if     a select that is about to stand in a list looks once more, under the list's lock, whether it need not:
//                it stands in others already, so it must be the one who decides.
//
// Lock order: at most one list, then decisions, two of them by address. Under a decision's lock nobody takes a list's, and
// nothing of the user's runs; nobody takes two lists. So there is no circle, whichever channels two selects share.
//
// Nobody is lost: a claim fails only when the decision is made for good, so a giver that goes on to the next waiter
// passes nobody who could have had it. Who wins on another thread is told by one post, as every remote_wait is; the select
// then takes its other places out of their lists, each under its lock, before its task goes on: nobody touches the
// decision after that. If the loser stood in front of others who may go now, their list's owner is told.
//
// A select whose cases are all of one loop has no decision: there the grant of one case takes the others out before
// anything else can run. Where two waiters meet, as a giver and a taker in a channel, one is out of all lists before the
// other is granted. Model: tests/model/select_decision.pml.
#pragma once

#include <pthread.h>

#include <cstdint>

#include <rota/base/mutex_lock.hpp>

namespace rota::detail {

class select_decision {
 public:
  /// No case's number: the select's own loop has decided.
  static constexpr std::uint32_t at_home = UINT32_MAX;

  select_decision() noexcept = default;
  select_decision(const select_decision&) = delete;
  select_decision& operator=(const select_decision&) = delete;
  ~select_decision() { pthread_mutex_destroy(&lock_); }

  /// True: it is the caller's, who must give the case what it waits for. Null is a place in no such select: it takes
  /// whatever comes.
  static bool claim(select_decision* one, std::uint32_t by) noexcept {
    if (!one) [[likely]]
      return true;
    const mutex_lock guard(one->lock_);
    return one->decide(by);
  }
  /// Of two places at once. False: one of them, or both, have decided already.
  static bool claim_both(select_decision* a, std::uint32_t a_by, select_decision* b, std::uint32_t b_by) noexcept {
    if (!a || !b) [[likely]]
      return claim(a, a_by) && claim(b, b_by);
    const mutex_lock first((a < b ? a : b)->lock_);
    const mutex_lock second((a < b ? b : a)->lock_);
    return b->winner_ == nobody && a->decide(a_by) && b->decide(b_by);
  }
  /// get() takes what there is for the case, if it says so. True: the decision is made, by this case or another one.
  template <class Get>
  bool claim_if(std::uint32_t by, Get get) {
    const mutex_lock guard(lock_);
    if (winner_ == nobody && get()) winner_ = by;
    return winner_ != nobody;
  }
  bool is_made() noexcept {
    const mutex_lock guard(lock_);
    return winner_ != nobody;
  }
  /// For who has seen that it is made.
  std::uint32_t winner() const noexcept { return winner_; }

 private:
  static constexpr std::uint32_t nobody = UINT32_MAX - 1;

  bool decide(std::uint32_t by) noexcept {
    if (winner_ != nobody) return false;
    winner_ = by;
    return true;
  }

  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  std::uint32_t winner_ = nobody;  // under the lock
};

}  // namespace rota::detail
