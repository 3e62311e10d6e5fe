// The any-thread channels: items between tasks of any executors and plain threads, under one short lock.
//
// As in channel_core, an item goes from hand to hand, under the lock; whoever got or gave one is then out of the list, and
// is told without the lock (remote_wait_list.hpp). Where there is only one receiver, it fetches what is there as a whole,
// and goes on without the lock (receiver_stock.hpp): senders and receiver meet once per batch.
//
// Whoever takes part in that, the one who comes and the one who waits, may be a case of a select: both are claimed before an
// item moves (select_decision.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/atomic.hpp>
#include <rota/base/mutex_lock.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/sync/channel_core.hpp>
#include <rota/sync/item_store.hpp>
#include <rota/sync/receiver_stock.hpp>
#include <rota/sync/remote_wait_list.hpp>

namespace rota::detail {

template <class T>
struct remote_give : remote_wait {
  explicit remote_give(T* w) noexcept : what(w) {}
  T* what;  // null: only the room for an item is wanted
  passing how = passing::waits;
};
template <class T>
struct remote_take : remote_wait {
  std::optional<T> got;
  passing how = passing::waits;
};

[[noreturn]] ROTA_COLD inline void throw_blocks_a_loop() {
  throw usage_error(usage_error::kind::blocking_in_loop,
                    "a blocking send or receive on a thread that runs tasks: co_await the channel instead");
}

template <class T>
class thread_channel {
 public:
  static_assert(std::is_object_v<T> && std::is_nothrow_move_constructible_v<T>,
                "what goes through a channel must be an object whose move constructor is noexcept; others go through "
                "it in a std::unique_ptr");
  using item = T;
  using give_place = remote_give<T>;
  using take_place = remote_take<T>;

  thread_channel(std::size_t capacity, bool has_one_receiver) noexcept
      : capacity_(capacity), has_one_receiver_(has_one_receiver) {}
  thread_channel(const thread_channel&) = delete;
  thread_channel& operator=(const thread_channel&) = delete;

  remote_wait_list& list_of(const give_place&) noexcept { return givers_; }
  remote_wait_list& list_of(const take_place&) noexcept { return takers_; }
  std::size_t capacity() const noexcept { return capacity_; }

  // ---- under the lock. False: it would have to wait, which must follow if `waits`; else place.how says what happened: it
  // waits still if its select has decided for another case.

  bool pass(give_place& place, remote_telling& telling, bool waits) {
    if (no_more_given_) return ends(place, passing::closed);
    if (no_more_taken_) return ends(place, passing::no_receiver);
    for (bool last_look = !waits;; last_look = true) {
      admit(telling);  // the receiver may have made room, and not come to it yet
      if (givers_.empty() && place.what && meets_taker(place, telling)) return true;
      if (givers_.empty() && has_room()) {
        items_.ensure(size() + reserved_ + 1);  // also for what waits, later
        if (place.claim()) accept_from(place);
        if (waits && last_look) stock_gate_.have_room();
        return true;
      }
      if (last_look && (!waits || stock_gate_.is_wanted())) return false;
      stock_gate_.want_room();  // again, when admit() has let others in and found that nobody wants more
    }
  }
  bool pass(take_place& place, remote_telling& telling, bool /*waits*/) noexcept {
    if (fetches()) {
      stock_.swap(items_);
      stock_gate_.filled(stock_.size());
    }
    if (fifo_store<T>& from = stock_.empty() ? items_ : stock_; !from.empty()) {
      if (!place.claim()) return true;
      from.take(place.got);
      place.how = passing::done;
      stock_gate_.filled(stock_.size());
      admit(telling);
      return true;
    }
    while (remote_wait* first = givers_.first()) {
      auto& giver = static_cast<give_place&>(*first);
      if (!giver.what) break;
      if (remote_wait::claim_both(place, giver)) {
        move_over(*giver.what, place);
        giver.how = passing::done;
        telling.grant(givers_, giver);
        return true;
      }
      if (place.has_lost()) return true;
      givers_.take_out(giver);
    }
    if (no_more_given_) return ends(place, passing::no_sender);
    if (no_more_taken_) return ends(place, passing::closed);
    return false;
  }

  // ---- without it

  /// The only receiver, from what it has fetched.
  bool take_from_stock(std::optional<T>& into) noexcept {
    if (stock_.empty()) return false;
    stock_.take(into);
    if (stock_gate_.took_one(stock_.size())) [[unlikely]]
      let_givers_in();
    return true;
  }
  bool pass_at_once(give_place&) noexcept { return false; }
  bool pass_at_once(take_place& place) noexcept { return take_from_stock(place.got) && ends(place, passing::done); }
  template <class Place>
  bool try_pass(Place& place) {
    if (pass_at_once(place)) return true;
    remote_telling telling(list_of(place));
    return pass(place, telling, false);
  }
  /// On a plain thread, which sleeps until it is done.
  template <class Place>
  void block(Place& place) {
    if (blocking_guard::forbidden()) throw_blocks_a_loop();
    if (pass_at_once(place)) return;
    constexpr bool gives = std::is_same_v<Place, give_place>;
    const bool patient = gives && has_one_receiver_ && capacity_ >= least_patience;
    thread_parker here;
    {
      remote_telling telling(list_of(place));
      if (pass(place, telling, !patient)) return;
      list_of(place).push(place, here);
    }
    if (patient) {
      // The receiver lets us in when it fetches again. To be woken for every item that it takes until then would cost both of
      // us more than the items.
      if (here.wait_briefly()) return;
      remote_telling telling(givers_);
      stock_gate_.want_room();
      admit(telling);
    }
    here.wait();
  }
  /// Adds what is there, at most `limit`, to `into`. Returns how many. May throw what the vector throws.
  std::size_t take_more(std::vector<T>& into, std::size_t limit) {
    std::optional<T> one;
    std::size_t n = 0;
    while (n != limit) {
      make_room_for_one(into);
      const std::size_t before = n;
      const std::size_t most = into.capacity() - into.size() < limit - n ? into.capacity() - into.size() : limit - n;
      for (; n - before != most && take_from_stock(one); ++n) into.push_back(std::move(*one));
      if (n - before == most) continue;
      remote_telling telling(takers_);
      for (take_place place; n - before != most && pass(place, telling, false) && place.how == passing::done; ++n) {
        into.push_back(std::move(*place.got));
        place.got.reset();
      }
      if (n - before != most) break;
    }
    return n;
  }

  /// What a permit does with the room that it holds. False: no receiver is left, and nothing has happened.
  bool give_reserved(T& what) noexcept {
    remote_telling telling(givers_);
    if (no_more_taken_) return false;
    --reserved_;
    if (remote_wait* const taker = takers_.claim_first())
      hand_over(what, *taker, telling);
    else
      accept(&what);
    admit(telling);
    return true;
  }
  void release_reserved() noexcept {
    remote_telling telling(givers_);
    --reserved_;
    admit(telling);
  }

  /// An end more, which holds the channel until it has dropped itself and called let_go().
  void add_sender() noexcept {
    const mutex_lock guard(givers_.lock());
    ++senders_;
    hold();
  }
  /// For a permit. False: the last sender was closed after the room was granted.
  bool add_sender_if_open() noexcept {
    const mutex_lock guard(givers_.lock());
    if (no_more_given_) return false;
    ++senders_;
    hold();
    return true;
  }
  void add_receiver() noexcept {
    const mutex_lock guard(givers_.lock());
    ++receivers_;
    hold();
  }
  void drop_sender() noexcept {
    remote_telling telling(givers_);
    if (--senders_ != 0) return;
    no_more_given_ = true;
    end_all<take_place>(takers_, passing::no_sender, telling);
    end_all<give_place>(givers_, passing::closed, telling);
  }
  void drop_receiver() noexcept {
    fifo_store<T> left, fetched;  // destroyed without the lock
    remote_telling telling(takers_);
    if (--receivers_ != 0) return;
    no_more_taken_ = true;
    end_all<give_place>(givers_, passing::no_receiver, telling);
    end_all<take_place>(takers_, passing::closed, telling);
    left.swap(items_);
    fetched.swap(stock_);
    stock_gate_.filled(0);
  }
  /// Whoever lets go last, of the ends and of the tasks that wait, destroys the channel.
  void hold() noexcept { held_.fetch_add(1, std::memory_order_relaxed); }
  void let_go() noexcept {
    if (held_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  bool has_receiver() noexcept {
    const mutex_lock guard(givers_.lock());
    return !no_more_taken_;
  }
  channel_statistics statistics() noexcept {
    const mutex_lock guard(givers_.lock());
    channel_statistics s;
    s.capacity = capacity_;
    s.size = size();
    s.peak = peak_;
    s.reserved = reserved_;
    s.sent = given_;
    s.senders = senders_;
    s.receivers = receivers_;
    s.waiting_senders = givers_.size();
    s.waiting_receivers = takers_.size();
    return s;
  }

 private:
  template <class Place>
  static bool ends(Place& place, passing how) noexcept {
    if (place.claim()) place.how = how;
    return true;
  }
  template <class Place>
  static void end_all(remote_wait_list& list, passing how, remote_telling& telling) noexcept {
    while (remote_wait* next = list.claim_first()) {
      static_cast<Place&>(*next).how = how;
      telling.grant(list, *next);
    }
  }

  std::size_t size() const noexcept { return items_.size() + stock_gate_.left(); }
  bool has_room() const noexcept { return size() + reserved_ < capacity_; }
  // Claimed before, like those of the next ones.
  void move_over(T& what, take_place& taker) noexcept {
    taker.got.emplace(static_cast<T&&>(what));
    taker.how = passing::done;
    ++given_;
  }
  void hand_over(T& what, remote_wait& taker, remote_telling& telling) noexcept {
    move_over(what, static_cast<take_place&>(taker));
    telling.grant(takers_, taker);
  }
  void accept_from(give_place& giver) noexcept {
    accept(giver.what);
    giver.how = passing::done;
  }
  // False: nobody waits for an item. True, and the giver waits still: it has lost.
  bool meets_taker(give_place& giver, remote_telling& telling) noexcept {
    while (remote_wait* taker = takers_.first()) {
      if (remote_wait::claim_both(giver, *taker)) {
        hand_over(*giver.what, *taker, telling);
        giver.how = passing::done;
        return true;
      }
      if (giver.has_lost()) return true;
      takers_.take_out(*taker);
    }
    return false;
  }
  // There is room, and memory for it.
  void accept(T* what) noexcept {
    if (!what) {
      ++reserved_;
      return;
    }
    items_.put(static_cast<T&&>(*what));
    ++given_;
    if (size() > peak_) peak_ = size();
  }
  void admit(remote_telling& telling) noexcept {
    if (givers_.empty()) return;
    while (remote_wait* first = givers_.first()) {
      auto& giver = static_cast<give_place&>(*first);
      if (!giver.what || !meets_taker(giver, telling)) {
        if (!has_room()) return;
        if (giver.claim()) accept_from(giver);
      }
      if (giver.how == passing::done)
        telling.grant(givers_, giver);
      else
        givers_.take_out(giver);  // it is a select's, which has something else
    }
    stock_gate_.have_room();
  }
  ROTA_NOINLINE void let_givers_in() noexcept {
    remote_telling telling(givers_);
    admit(telling);
    if (givers_.empty()) stock_gate_.have_room();  // who wanted some was cancelled
  }
  // For the only receiver, whose stock is used up: the stores change places, if the other one can be as large.
  bool fetches() noexcept {
    if (!has_one_receiver_ || items_.size() < 2 || !stock_.empty()) return false;
    try {
      stock_.ensure(items_.room());
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  }
  // After a cancel took a giver out: the next one may want what its predecessor could not get.
  struct giver_list : remote_wait_list {
    explicit giver_list(thread_channel& c) noexcept
        : remote_wait_list(
              "any_thread channel",
              [](remote_wait_list& self) noexcept { static_cast<giver_list&>(self).channel.let_givers_in(); }),
          channel(c) {}
    thread_channel& channel;
  };

  static constexpr std::size_t least_patience = 16;  // a smaller capacity is for who wants to wait for each other

  const std::size_t capacity_;
  const bool has_one_receiver_;
  giver_list givers_{*this};  // its lock guards all of this but the stock
  remote_wait_list takers_{"any_thread channel", givers_, nullptr};
  fifo_store<T> items_;
  std::size_t reserved_ = 0;
  std::size_t senders_ = 0;
  std::size_t receivers_ = 0;
  std::size_t peak_ = 0;
  std::uint64_t given_ = 0;
  bool no_more_given_ = false;
  bool no_more_taken_ = false;
  atomic<std::size_t> held_{0};  // by ends and by waiting tasks; not under the lock, which goes with the channel
  receiver_stock stock_gate_;
  fifo_store<T> stock_;  // the only receiver's
};

/// Awaits a give or a take; Place is one of the channel's.
template <class Self, class T, class Place>
class thread_channel_await : public remote_await<Self, Place> {
  using base = remote_await<Self, Place>;

 public:
  template <class... Args>
  explicit thread_channel_await(thread_channel<T>& channel, Args... args) noexcept : base(args...), channel_(channel) {}
  ~thread_channel_await() {
    if (holds_) channel_.let_go();
  }

 protected:
  thread_channel<T>& channel() const noexcept { return channel_; }
  // From here on the channel outlives the awaiter: after the wait it is used again.
  void hold() noexcept {
    channel_.hold();
    holds_ = true;
  }

 private:
  friend base;
  remote_wait_list& list() noexcept { return channel_.list_of(*this); }
  bool get_at_once() noexcept { return channel_.pass_at_once(*this); }
  bool get(remote_telling& telling) noexcept(std::is_same_v<Place, remote_take<T>>) {
    if (channel_.pass(*this, telling, true)) return true;
    if (!holds_) hold();  // a cancel may look into the channel after both ends were closed
    return false;
  }

  // For select.
  bool get_now() { return channel_.try_pass(*this); }
  bool get_as_case(remote_telling& telling) { return get(telling); }  // the channel claims

  thread_channel<T>& channel_;
  bool holds_ = false;
};

template <class Self, class T>
using thread_give_await = thread_channel_await<Self, T, remote_give<T>>;
template <class Self, class T>
using thread_take_await = thread_channel_await<Self, T, remote_take<T>>;

}  // namespace rota::detail
