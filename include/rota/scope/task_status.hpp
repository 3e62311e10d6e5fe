// task_status<V>: how a child of task_group::start says that it is ready.
#pragma once

#include <exception>
#include <system_error>
#include <type_traits>
#include <utility>

#include <rota/base/error.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/outcome.hpp>
#include <rota/loop/event_loop.hpp>

namespace rota {

template <class V = void>
class task_status;

namespace detail {

/// Owns a child from start() until it says started(); then the child moves to the group.
class pending_start_base : public task_owner {
 public:
  explicit pending_start_base(task_owner& group) noexcept : group_(group) { ++group_.children; }

  void child_ended(task_state& child) noexcept override {
    cancelled_ = child.has(task_state::was_cancelled);
    if (cancelled_) return;
    // The error goes to the caller of start(): nobody has lost it.
    child.set(task_state::retrieved);
    error_ = *error_of(child);
  }

  /// Gives the child to the group.
  void hand_over() noexcept {
    scope_tree::move(*scope_tree::first_child(*this), group_);
    handed_over_ = true;
    one_less();
  }

  /// On a pool: the child says it on its own strand. It goes no further than this: the owner hears it before the child's end.
  void hand_over_at_home() noexcept {
    news_.of = this;
    news_.run = [](posted& self) noexcept {
      pending_start_base& me = *static_cast<news&>(self).of;
      if (!me.is_cancelled()) me.hand_over();
    };
    host->exec->post(news_);
  }

  void throw_unless_started(task_state& caller) {
    if (handed_over_) return;
    if (error_) std::rethrow_exception(error_);
    if (caller.is_cancelled()) throw_cancelled(caller);
    if (cancelled_) throw std::system_error(make_error_code(errc::task_cancelled), "start");
    throw_usage_error(usage_error::kind::invalid_argument,
                      "the function of task_group::start() ended without calling started(); awaited by %s",
                      describe(caller).c_str());
  }

  // The group counts the start from its beginning, so that it does not end meanwhile.
  class ending {
   public:
    explicit ending(pending_start_base& p) noexcept : pending_(p) {}
    ending(const ending&) = delete;
    ending& operator=(const ending&) = delete;
    ~ending() {
      pending_.detach();
      if (!pending_.handed_over_) pending_.group_.one_less();
    }

   private:
    pending_start_base& pending_;
  };

 private:
  struct news : posted {
    pending_start_base* of = nullptr;
  };

  task_owner& group_;
  std::exception_ptr error_;
  news news_;
  bool handed_over_ = false;
  bool cancelled_ = false;
};

template <class V>
class pending_start final : public pending_start_base {
 public:
  using pending_start_base::pending_start_base;
  ~pending_start() override {
    if (status) status->pending_ = nullptr;
  }
  outcome<V> result;
  task_status<V>* status = nullptr;
};

template <class F>
struct first_parameter {
  static_assert(
      !std::is_same_v<F, F>,
      "task_group::start(f, args...): the first parameter of f must be a rota::task_status<V>, and f must not "
      "be a member function or a template, or have overloads");
};
template <class F>
  requires requires { &F::operator(); }
struct first_parameter<F> : first_parameter<decltype(&F::operator())> {};
template <class R, class P, class... Ps>
struct first_parameter<R (*)(P, Ps...)> {
  using type = std::remove_cvref_t<P>;
};
template <class R, class P, class... Ps>
struct first_parameter<R (*)(P, Ps...) noexcept> : first_parameter<R (*)(P, Ps...)> {};
template <class C, class R, class P, class... Ps>
struct first_parameter<R (C::*)(P, Ps...)> : first_parameter<R (*)(P, Ps...)> {};
template <class C, class R, class P, class... Ps>
struct first_parameter<R (C::*)(P, Ps...) const> : first_parameter<R (*)(P, Ps...)> {};
template <class C, class R, class P, class... Ps>
struct first_parameter<R (C::*)(P, Ps...) noexcept> : first_parameter<R (*)(P, Ps...)> {};
template <class C, class R, class P, class... Ps>
struct first_parameter<R (C::*)(P, Ps...) const noexcept> : first_parameter<R (*)(P, Ps...)> {};
template <class P>
struct status_value {
  static_assert(!std::is_same_v<P, P>,
                "task_group::start(f, args...): the first parameter of f must be a rota::task_status<V>");
};
template <class V>
struct status_value<task_status<V>> {
  using type = V;
};
/// The V of f's first parameter, a task_status<V>.
template <class F>
using status_value_t = typename status_value<typename first_parameter<F>::type>::type;

}  // namespace detail

/// Movable; given to the function that task_group::start runs, as its first argument.
template <class V>
class task_status {
 public:
  task_status(task_status&& other) noexcept : pending_(std::exchange(other.pending_, nullptr)) { follow(); }
  task_status& operator=(task_status&& other) noexcept {
    if (this != &other) {
      forget();
      pending_ = std::exchange(other.pending_, nullptr);
      follow();
    }
    return *this;
  }
  ~task_status() { forget(); }

  /// start() goes on with the value, which is made of `args`, this task in the group. Once, while the task runs: any
  /// other call is a usage_error. When the caller of start() was cancelled meanwhile, this does nothing, and the next
  /// suspension is cancelled, too.
  template <class... Args>
  void started(Args&&... args) {
    const detail::task_state* const here = detail::running_task();
    if (!pending_ || pending_->children == 0 || (!here && pending_->host->exec->is_strand()))
      detail::throw_usage_error(usage_error::kind::invalid_argument,
                                "started() was called%s twice, or when the task of task_group::start() did not run",
                                detail::by_running_task().c_str());
    if (here && here->exec != pending_->host->exec) {
      pending_->result.emplace(std::forward<Args>(args)...);  // start() looks at it when it has heard, if ever
      detail::pending_start<V>& of = *pending_;
      forget();
      of.hand_over_at_home();
      return;
    }
    if (!pending_->is_cancelled()) {
      pending_->result.emplace(std::forward<Args>(args)...);
      pending_->hand_over();
    }
    forget();
  }

  // For the library.
  explicit task_status(detail::pending_start<V>& pending) noexcept : pending_(&pending) { follow(); }

 private:
  friend detail::pending_start<V>;

  void follow() noexcept {
    if (pending_) pending_->status = this;
  }
  void forget() noexcept {
    if (pending_) pending_->status = nullptr;
    pending_ = nullptr;
  }

  detail::pending_start<V>* pending_;  // null: said, moved from, or start() has ended
};

}  // namespace rota
