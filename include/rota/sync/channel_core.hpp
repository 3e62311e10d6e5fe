// What the channels and the queue have in common: items between those who give and those who take, in one loop.
//
// Nothing is ever in two hands. An item goes straight into the awaiter of the first who waits for one; a giver's item is
// taken out of the object that it was sent from only in the moment in which it is accepted. So a cancel, a lost select
// and a closed channel leave it where it was.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/error.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/sync/item_store.hpp>
#include <rota/sync/wait_list.hpp>

namespace rota {

/// What a channel or a queue looks like at this moment.
struct channel_statistics {
  std::size_t capacity = 0;
  std::size_t size = 0;      ///< items that were sent and not received
  std::size_t peak = 0;      ///< the largest size so far
  std::size_t reserved = 0;  ///< room that is held by permits
  std::uint64_t sent = 0;    ///< items so far
  std::size_t senders = 0;   ///< open ends; a permit counts as one
  std::size_t receivers = 0;
  std::size_t waiting_senders = 0;  ///< tasks
  std::size_t waiting_receivers = 0;
};

namespace detail {

/// How a give or a take ended.
enum class passing : std::uint8_t {
  waits,        // not yet
  done,         // the item has changed hands
  no_receiver,  // and there never will be one
  no_sender,    // nothing is left, and nothing will come
  closed,       // this side was closed while it waited
};

[[noreturn]] ROTA_COLD inline void throw_passing(passing how) {
  if (how == passing::no_receiver)
    throw std::system_error(std::make_error_code(std::errc::broken_pipe), "every receiver of the channel is gone");
  if (how == passing::no_sender)
    throw std::system_error(make_error_code(errc::end_of_stream), "every sender of the channel is gone");
  throw std::system_error(make_error_code(errc::closed), "this end of the channel, or the queue, is closed");
}

/// The same for a oneshot, whose sender has promised a value.
[[noreturn]] ROTA_COLD inline void throw_oneshot_passing(passing how) {
  if (how == passing::no_sender)
    throw std::system_error(make_error_code(errc::broken_promise), "the sender of a oneshot is gone");
  throw_passing(how);
}

// What an await, or a call that blocks, gives back, by how it ended.
template <class Place>
void require_passed(const Place& place) {
  if (place.how != passing::done) [[unlikely]]
    throw_passing(place.how);
}
template <class Place>
auto received(Place& place) {
  require_passed(place);
  return std::move(*place.got);
}
template <class Place>
auto received_or_end(Place& place) {
  if (place.how == passing::closed) [[unlikely]]
    throw_passing(place.how);
  return std::move(place.got);
}
template <class Place>
auto received_of_oneshot(Place& place) {
  if (place.how != passing::done) [[unlikely]]
    throw_oneshot_passing(place.how);
  return std::move(*place.got);
}
/// An item that was taken must not be lost for lack of memory, so there is room for it first.
template <class T>
void make_room_for_one(std::vector<T>& into) {
  if (into.size() == into.capacity()) into.reserve(into.empty() ? 8 : into.size() * 2);
}
template <class T>
void begin_to_receive_many(std::vector<T>& into, std::size_t limit) {
  if (limit == 0)
    throw usage_error(usage_error::kind::invalid_argument, "receive_many(): the largest number of items is 0");
  make_room_for_one(into);
}
template <class Place, class Channel, class T>
std::size_t received_many(Place& place, Channel& channel, std::vector<T>& into, std::size_t limit) {
  if (place.how == passing::no_sender) return 0;
  into.push_back(received(place));
  return 1 + channel.take_more(into, limit - 1);
}
template <class Channel>
void require_room_to_reserve(const Channel& channel) {
  if (channel.capacity() == 0)
    throw usage_error(usage_error::kind::invalid_argument,
                      "a channel of capacity 0 has no room to reserve: an item goes from hand to hand");
}

template <class T>
struct give_place : list_wait {
  explicit give_place(T* w) noexcept : what(w) {}
  T* what;  // null: only the room for an item is wanted
  passing how = passing::waits;
};

template <class T>
struct take_place : list_wait {
  std::optional<T> got;
  passing how = passing::waits;
};

/// The items, who waits for one, and who waits to get rid of one. A list of waiting givers and room for the first of them
/// never exist together; nor do waiting takers and items.
template <class Store>
class channel_core {
 public:
  using item = typename Store::value_type;
  static_assert(std::is_object_v<item> && std::is_nothrow_move_constructible_v<item>,
                "what goes through a channel must be an object whose move constructor is noexcept; others go through "
                "it in a std::unique_ptr");

  explicit channel_core(std::size_t most) : capacity_(most) {}
  template <class Compare>
  channel_core(std::size_t most, Compare&& compare) : capacity_(most), items_(static_cast<Compare&&>(compare)) {}
  channel_core(const channel_core&) = delete;
  channel_core& operator=(const channel_core&) = delete;

  wait_list& givers() noexcept { return givers_; }
  wait_list& takers() noexcept { return takers_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::size_t size() const noexcept { return items_.size(); }
  std::size_t reserved() const noexcept { return reserved_; }
  /// How many items were accepted so far.
  std::uint64_t given() const noexcept { return given_; }
  bool no_more_given() const noexcept { return no_more_given_; }
  bool no_more_taken() const noexcept { return no_more_taken_; }

  /// Gives `*what` away, or takes room for an item (null), if that can be done at once. May throw std::bad_alloc.
  passing give(item* what) {
    takers_.used_here();
    if (no_more_given_) [[unlikely]]
      return passing::closed;
    if (no_more_taken_) [[unlikely]]
      return passing::no_receiver;
    if (has_shared()) [[unlikely]]
      return give_shared(what);
    return give_as<false>(what);
  }
  passing take(std::optional<item>& into) noexcept {
    takers_.used_here();
    if (has_shared()) [[unlikely]]
      return take_shared(into);
    return take_as<false>(into);
  }

  /// Adds what is there, at most `limit`, to `into`; returns how many.
  std::size_t take_more(std::vector<item>& into, std::size_t limit) {
    std::optional<item> one;
    for (std::size_t n = 0; n != limit; ++n) {
      make_room_for_one(into);
      if (take(one) != passing::done) return n;
      into.push_back(std::move(*one));
      one.reset();
    }
    return limit;
  }

  /// What a permit does with the room that it holds. False: no receiver is left, and nothing has happened.
  bool give_reserved(item& what) noexcept {
    takers_.used_here();
    if (no_more_taken_) [[unlikely]]
      return false;
    --reserved_;
    if (!hand_over<true>(what)) accept(&what);
    admit();  // if it went from hand to hand, the room goes to who waits for it
    return true;
  }
  void release_reserved() noexcept {
    takers_.used_here();
    --reserved_;
    admit();
  }

  /// Nothing more comes: who waits for an item learns it, and who still waits to give one keeps it.
  void end_giving() noexcept {
    takers_.used_here();
    no_more_given_ = true;
    end_all<take_place<item>>(takers_, passing::no_sender);
    end_all<give_place<item>>(givers_, passing::closed);
  }
  /// Nobody takes what is there, or comes.
  void end_taking() noexcept {
    takers_.used_here();
    no_more_taken_ = true;
    end_all<give_place<item>>(givers_, passing::no_receiver);
    end_all<take_place<item>>(takers_, passing::closed);
    items_.clear();
  }
  /// Destroys what is there; returns how many that were.
  std::size_t clear() noexcept {
    const std::size_t n = items_.size();
    items_.clear();
    admit();
    return n;
  }

  channel_statistics statistics() const noexcept {
    channel_statistics s;
    s.capacity = capacity_;
    s.size = items_.size();
    s.peak = peak_;
    s.reserved = reserved_;
    s.sent = given_;
    s.waiting_senders = givers_.size();
    s.waiting_receivers = takers_.size();
    return s;
  }

 private:
  // After a cancel took a giver out: the next one may want what its predecessor could not get.
  struct giver_list : wait_list {
    explicit giver_list(channel_core& c) noexcept : wait_list("place in a channel", &pass_on), core(c) {}
    static void pass_on(wait_list& self) noexcept { static_cast<giver_list&>(self).core.admit(); }
    channel_core& core;
  };

  bool has_room() const noexcept { return items_.size() + reserved_ < capacity_; }
  // False: nobody waits for it.
  template <bool Shared>
  bool hand_over(item& what) noexcept {
    waiter* const taker = Shared ? takers_.claim_first() : takers_.first();
    if (taker) hand_to(*taker, what);
    return taker != nullptr;
  }
  void hand_to(waiter& claimed, item& what) noexcept {
    auto& taker = static_cast<take_place<item>&>(claimed);
    taker.got.emplace(static_cast<item&&>(what));
    taker.how = passing::done;
    ++given_;
    takers_.grant(taker);
  }
  // There is room.
  void accept(item* what) noexcept {
    if (!what) {
      ++reserved_;
      return;
    }
    items_.put(static_cast<item&&>(*what));
    ++given_;
    if (items_.size() > peak_) peak_ = items_.size();
  }
  // Shared: a select that other threads may decide waits here, so everybody is claimed first. Few channels have one, and the
  // others shall not pay for it.
  bool has_shared() const noexcept { return givers_.has_shared() || takers_.has_shared(); }
  ROTA_COLD passing give_shared(item* what) { return give_as<true>(what); }
  ROTA_COLD passing take_shared(std::optional<item>& into) noexcept { return take_as<true>(into); }
  ROTA_COLD void admit_shared() noexcept { admit_as<true>(); }
  template <bool Shared>
  [[gnu::always_inline]] passing give_as(item* what) {
    if (!givers_.empty()) return passing::waits;
    if (what && hand_over<Shared>(*what)) return passing::done;
    if (!has_room()) return passing::waits;
    items_.ensure(items_.size() + reserved_ + 1);
    accept(what);
    return passing::done;
  }
  template <bool Shared>
  [[gnu::always_inline]] passing take_as(std::optional<item>& into) noexcept {
    if (!items_.empty()) {
      items_.take(into);
      if (!givers_.empty()) admit_as<Shared>();
      return passing::done;
    }
    while (waiter* first = givers_.first()) {
      auto& giver = static_cast<give_place<item>&>(*first);
      if (!giver.what) break;
      if (Shared && !givers_.claim(giver)) continue;
      into.emplace(static_cast<item&&>(*giver.what));
      ++given_;
      giver.how = passing::done;
      givers_.grant(giver);
      return passing::done;
    }
    return no_more_given_ ? passing::no_sender : no_more_taken_ ? passing::closed : passing::waits;
  }
  // Room that comes back was there before: the store need not grow for it.
  void admit() noexcept {
    if (has_shared()) [[unlikely]]
      return admit_shared();
    admit_as<false>();
  }
  template <bool Shared>
  [[gnu::always_inline]] void admit_as() noexcept {
    while (waiter* first = givers_.first()) {
      auto& giver = static_cast<give_place<item>&>(*first);
      waiter* const taker = giver.what ? takers_.first() : nullptr;
      if (!taker && !has_room()) return;
      if (Shared && !(taker ? givers_.claim_both(giver, takers_, *taker) : givers_.claim(giver))) continue;
      // The giver is out of all lists before the taker goes on: if that is a select, others are given what it wanted elsewhere,
      // and may bring us here again.
      givers_.remove(giver);
      giver.how = passing::done;
      rest_of_grant* const left = giver.granted(giver);
      if (taker)
        hand_to(*taker, *giver.what);
      else
        accept(giver.what);
      wait_list::finish(left);
    }
  }
  template <class Place>
  static void end_all(wait_list& list, passing how) noexcept {
    while (waiter* next = list.claim_first()) {
      static_cast<Place&>(*next).how = how;
      list.grant(*next);
    }
  }

  const std::size_t capacity_;
  std::size_t reserved_ = 0;
  std::size_t peak_ = 0;
  std::uint64_t given_ = 0;
  bool no_more_given_ = false;
  bool no_more_taken_ = false;
  Store items_;
  giver_list givers_{*this};
  wait_list takers_{"channel's item"};
};

/// Awaits that an item was accepted, or (null) that there is room for one.
template <class Store>
class give_await : public give_place<typename Store::value_type> {
  using place = give_place<typename Store::value_type>;

 public:
  give_await(channel_core<Store>& core, typename Store::value_type* gives) noexcept : place(gives), core_(core) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = this->begin_at(handle, where, core_.givers());
    if (!me.is_cancelled() && try_now()) [[likely]]
      return me.exec->takes_turns(handle.address());
    return this->wait_in(core_.givers(), me, handle.address());
  }

  // For select.
  bool try_now() { return (this->how = core_.give(this->what)) != passing::waits; }
  wait_list& list() noexcept { return core_.givers(); }
  const void* channel() const noexcept { return &core_; }

 protected:
  void conclude() const {
    this->check();
    require_passed(*this);
  }
  channel_core<Store>& core() const noexcept { return core_; }

 private:
  channel_core<Store>& core_;
};

template <class Store>
class take_await : public take_place<typename Store::value_type> {
 public:
  explicit take_await(channel_core<Store>& core) noexcept : core_(core) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) {
    task_state& me = this->begin_at(handle, where, core_.takers());
    if (!me.is_cancelled() && try_now()) [[likely]]
      return me.exec->takes_turns(handle.address());
    return this->wait_in(core_.takers(), me, handle.address());
  }

  // For select.
  bool try_now() noexcept { return (this->how = core_.take(this->got)) != passing::waits; }
  wait_list& list() noexcept { return core_.takers(); }
  const void* channel() const noexcept { return &core_; }

 protected:
  channel_core<Store>& core() const noexcept { return core_; }

 private:
  channel_core<Store>& core_;
};

}  // namespace detail
}  // namespace rota
