// The atomics of rota's lock-free parts go through this alias, so that a model checker can stand in for them. Single
// words that order nothing else are plain std::atomic: the report handler, what was said once, the signal that came.
#pragma once

#include <atomic>

namespace rota::detail {
#ifdef ROTA_ATOMIC_POLICY
template <class T>
using atomic = ROTA_ATOMIC_POLICY<T>;
#else
template <class T>
using atomic = std::atomic<T>;
#endif
}  // namespace rota::detail
