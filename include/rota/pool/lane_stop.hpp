// to_thread() for functions that take a std::stop_token. Not part of rota.hpp: <stop_token> is dear to compile.
#pragma once

#include <stop_token>
#include <type_traits>
#include <utility>

#include <rota/base/callable.hpp>
#include <rota/pool/blocking_lane.hpp>

namespace rota {

namespace detail {

/// f with a token of its own.
template <class F>
class stoppable {
 public:
  explicit stoppable(F f) : f_(std::move(f)) {}

  void request_stop() noexcept { source_.request_stop(); }
  template <class... Args>
  decltype(auto) operator()(Args&&... args) {
    return detail::invoke(std::move(f_), source_.get_token(), static_cast<Args&&>(args)...);
  }

 private:
  F f_;
  std::stop_source source_;
};

struct lane_access {
  template <class F, class... Args>
  static auto call(blocking_lane& lane, F&& f, Args&&... args) {
    refuse_empty(f, "to_thread()");
    return lane.call(stoppable<std::decay_t<F>>(static_cast<F&&>(f)), static_cast<Args&&>(args)...);
  }
};

template <class F, class... Args>
concept takes_a_stop_token = !std::is_invocable_v<F, Args...> && std::is_invocable_v<F, std::stop_token, Args...>;

}  // namespace detail

/// Calls f(token, args...) on a thread of the lane. A cancel of the caller requests stop; f then should come back soon, and
/// its result is given all the same.
template <class F, class... Args>
  requires detail::takes_a_stop_token<std::decay_t<F>, std::decay_t<Args>...>
auto to_thread(blocking_lane& lane, F&& f, Args&&... args) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  return detail::lane_access::call(lane, std::forward<F>(f), std::forward<Args>(args)...);
}
template <class F, class... Args>
  requires detail::takes_a_stop_token<std::decay_t<F>, std::decay_t<Args>...>
auto to_thread(F&& f, Args&&... args) {
  ROTA_REFUSE_OWNING_CLOSURE(F);
  return detail::lane_access::call(user_lane(), std::forward<F>(f), std::forward<Args>(args)...);
}

}  // namespace rota
