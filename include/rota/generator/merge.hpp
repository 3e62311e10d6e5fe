// merge: the items of several sources, in the order in which they come.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <source_location>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/base/error.hpp>
#include <rota/base/owned.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/task.hpp>
#include <rota/generator/source.hpp>
#include <rota/loop/spawn.hpp>
#include <rota/scope/cleanup.hpp>
#include <rota/scope/failures.hpp>

namespace rota {

namespace detail {

/// The children of a merge, one for each source, and those of them that hold an item until the consumer takes it, first
/// come first. They belong to the merge, wherever it is consumed: a scope of one consumer does not hold them.
class merge_owner final : public failure_collector {
 public:
  merge_owner() noexcept : failure_collector("a merge") {}
  ~merge_owner() override {
    if (children != 0)
      trap(
          "a merge was destroyed while its sources run: for_each(), collect() and with(limit, merge, body) close it "
          "first");
    if (parent()) unlink();
  }

  /// True for the first time.
  bool begins_on(task_runner& on) {
    if (runner_ == &on) return false;
    if (runner_)
      throw usage_error(usage_error::kind::wrong_loop,
                        "a merge was used by a task of another event loop, or by another task of a pool");
    runner_ = &on;
    set_line(line_mark_of(line_of(*on.running())));
    link(runner_access::root(on));
    return true;
  }

  custom_wait* first() const noexcept { return first_; }
  void add(custom_wait& holder) noexcept {
    holder.next = nullptr;
    *end_ = &holder;
    end_ = &holder.next;
    if (waiter) make_ready(std::exchange(waiter, nullptr)->frame);
  }
  void remove(custom_wait& holder) noexcept {
    custom_wait** link = &first_;
    while (*link != &holder) link = &(*link)->next;
    *link = holder.next;
    if (!*link) end_ = link;
  }

  /// While it lives, next() or close() is under way.
  class use {
   public:
    explicit use(merge_owner& of) : owner_(of) {
      if (owner_.is_used_)
        throw usage_error(usage_error::kind::invalid_argument, "a merge was used while another task awaits its next()");
      owner_.is_used_ = true;
    }
    use(const use&) = delete;
    use& operator=(const use&) = delete;
    ~use() { owner_.is_used_ = false; }

   private:
    merge_owner& owner_;
  };

 private:
  task_runner* runner_ = nullptr;  // null before the start
  custom_wait* first_ = nullptr;
  custom_wait** end_ = &first_;
  bool is_used_ = false;
};

/// A child waits until its item was taken; what was not taken when its scope is cancelled stays the child's.
template <class T>
class [[nodiscard(ROTA_UNAWAITED)]] offer_awaiter : custom_wait {
 public:
  offer_awaiter(merge_owner& owner, T& item) noexcept : owner_(owner), item_(item) {}
  offer_awaiter(const offer_awaiter&) = delete;
  offer_awaiter& operator=(const offer_awaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle, line_mark where = ROTA_CALLERS_LINE) noexcept {
    task_ = &suspend_at(handle, where);
    withdrawn_ = task_->is_cancelled();
    if (withdrawn_) return false;
    frame = handle.address();
    cancel = [](custom_wait& self) noexcept {
      auto& mine = static_cast<offer_awaiter&>(self);
      mine.withdrawn_ = true;
      mine.owner_.remove(mine);
      make_ready(mine.frame);
    };
    task_->waits_for(static_cast<custom_wait*>(this), wait_kind::custom);
    owner_.add(*this);
    return true;
  }
  void await_resume() {
    if (withdrawn_) throw_cancelled(*task_);
  }

  /// Takes the item of the child that waits longest.
  static std::optional<T> take(merge_owner& owner) {
    auto& mine = static_cast<offer_awaiter&>(*owner.first());
    std::optional<T> item(std::move(mine.item_));
    owner.remove(mine);
    make_ready(mine.frame);
    return item;
  }

 private:
  merge_owner& owner_;
  T& item_;
  task_state* task_ = nullptr;
  bool withdrawn_ = false;
};

template <class T, class S>
task<> pump(merge_owner* owner, S* source) {
  while (auto item = co_await source->next()) {
    if constexpr (std::is_pointer_v<decltype(item)>) {
      T copy(*item);
      co_await offer_awaiter<T>(*owner, copy);
    } else {
      co_await offer_awaiter<T>(*owner, *item);
    }
  }
}

template <class S>
task<> close_source(S& source, cleanup_errors& errors) {
  std::exception_ptr error;
  try {
    co_await source.close();
  } catch (...) {
    error = std::current_exception();
  }
  if (error) errors.add(std::move(error));
}

// Sources: a std::tuple, or a std::vector.
template <class T, class Sources>
class [[nodiscard(ROTA_UNASKED)]] merged {
 public:
  using value_type = T;

  explicit merged(Sources sources) : state_(new state(std::move(sources))) {}

  task<std::optional<T>> next() {
    state& s = *state_;
    const merge_owner::use in_use(s.owner);
    if (s.ended) co_return std::nullopt;
    task_runner& runner = loop_access::current_runner();
    if (s.owner.begins_on(runner)) start(s, runner);
    while (!s.owner.first()) {
      if (s.owner.children == 0) {
        co_await finish(s);
        co_return std::nullopt;
      }
      co_await children_awaiter(s.owner, 1, true);
    }
    co_return offer_awaiter<T>::take(s.owner);
  }

  task<> close() {
    if (state_->closer.valid()) return std::move(state_->closer);
    return close_all(*state_);
  }

 private:
  struct state {
    explicit state(Sources&& s) : sources(std::move(s)) {}
    ~state() { task_access::discard(closer); }
    Sources sources;
    bool ended = false;
    merge_owner owner;
    task<> closer;  // made before the children: they can be joined even without memory for a frame
  };

  static task<> close_all(state& s) {
    const merge_owner::use in_use(s.owner);
    if (s.ended) co_return;
    scope_tree::cancel(s.owner, cancel_kind::requested, "a merge was closed", std::source_location::current());
    while (s.owner.children != 0) co_await children_awaiter(s.owner, 1, false);
    co_await finish(s);
  }
  static void start(state& s, task_runner& runner) {
    s.closer = close_all(s);
    const start_here place{runner, s.owner, false};  // on a pool, too: sources and consumer share what they hand over
    try {
      each(s.sources, [&]<class S>(S& source) { (void)start_task_at(place, &pump<T, S>, &s.owner, &source); });
    } catch (...) {
      scope_tree::cancel(s.owner, cancel_kind::requested, "a merge could not start all its sources",
                         std::source_location::current());
      throw;
    }
  }
  template <class... S, class F>
  static void each(std::tuple<S...>& sources, F f) {
    std::apply([&](S&... one) { (f(one), ...); }, sources);
  }
  template <class S, class F>
  static void each(std::vector<S>& sources, F f) {
    for (S& one : sources) f(one);
  }

  // No child is left.
  static task<> finish(state& s) {
    s.ended = true;
    cleanup_errors errors(s.owner.conclude(), s.owner.line());
    std::vector<task<>> closings;
    each(s.sources, [&]<class S>(S& source) {
      if constexpr (closes_awaitably<S>) closings.push_back(close_source(source, errors));
    });
    for (task<>& closing : closings) co_await std::move(closing);
    if (const std::exception_ptr error = errors.combined()) std::rethrow_exception(error);
    if (s.owner.child_was_cancelled() && !s.owner.cancel_requested())
      throw std::system_error(make_error_code(errc::task_cancelled), "merge");
  }

  owned<state> state_;
};

}  // namespace detail

/// The items of all sources as they come; of one source in its order. Ends when all have ended. The sources run at once, as
/// children of the merge, from the first next() on, each at most one item ahead; so their items must be of one type, and what
/// they refer to must outlive the merge. Movable; for one task at a time.
///
/// A cancelled next() loses nothing and disturbs no source. The first source that fails cancels the others; when all have
/// ended, and were closed, next() throws their errors as one exception_group. Items that nobody had taken by then are lost, and so
/// is one of each source, also of one that is only borrowed, when the merge is closed early: the item it is ahead.
///
/// close() cancels and joins the children and closes their sources. A merge that is left early must be closed, as for_each(),
/// collect() and with(limit, merge, body) do on every way out: destroying it while children run ends the program (rule R1).
template <class S, class... More>
  requires async_source<std::remove_reference_t<S>> && (async_source<std::remove_reference_t<More>> && ...)
auto merge(S&& source, More&&... more) {
  using item = source_item_t<std::remove_reference_t<S>>;
  static_assert((std::is_same_v<item, source_item_t<std::remove_reference_t<More>>> && ...),
                "merge() needs sources whose items are of one type: map() the others first");
  using sources = std::tuple<detail::held_source_t<S>, detail::held_source_t<More>...>;
  return detail::merged<item, sources>(sources(detail::held_source_t<S>(std::forward<S>(source)),
                                               detail::held_source_t<More>(std::forward<More>(more))...));
}

/// The same for any number of sources of one type.
template <async_source S>
auto merge(std::vector<S> sources) {
  return detail::merged<source_item_t<S>, std::vector<S>>(std::move(sources));
}

}  // namespace rota
