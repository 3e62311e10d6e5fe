// What this compiler and this build are; the only file that asks.
#pragma once

#ifndef __linux__
#error "rota runs on Linux only"
#endif

#define ROTA_VERSION_MAJOR 0
#define ROTA_VERSION_MINOR 1
#define ROTA_VERSION_PATCH 0

#if defined(__clang__)
#define ROTA_CLANG 1
#define ROTA_GCC 0
#else
#define ROTA_CLANG 0
#define ROTA_GCC 1
#endif

// A class that is passed and returned in a register although it has a destructor.
#if ROTA_CLANG
#define ROTA_IN_REGISTER [[clang::trivial_abi]]
#else
#define ROTA_IN_REGISTER
#endif

// GCC 12.0 to 12.2 destroys an owning closure twice when its full expression awaits (docs/compilers.md).
#if ROTA_GCC && __GNUC__ == 12 && __GNUC_MINOR__ < 3
#define ROTA_GCC_MISCOMPILES_COROUTINES 1
#else
#define ROTA_GCC_MISCOMPILES_COROUTINES 0
#endif

#if defined(__has_feature)
#define ROTA_HAS_FEATURE(x) __has_feature(x)
#else
#define ROTA_HAS_FEATURE(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || ROTA_HAS_FEATURE(address_sanitizer)
#define ROTA_ASAN 1
#else
#define ROTA_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__) || ROTA_HAS_FEATURE(thread_sanitizer)
#define ROTA_TSAN 1
#else
#define ROTA_TSAN 0
#endif

// rota checks its own invariants at every step: on without NDEBUG; -DROTA_ASSERTIONS=0/1 decides. Not to be confused
// with the debug mode, a run-time switch (ROTA_DEBUG=1 in the environment, docs/reference/debugging.md).
#ifndef ROTA_ASSERTIONS
#ifdef NDEBUG
#define ROTA_ASSERTIONS 0
#else
#define ROTA_ASSERTIONS 1
#endif
#endif

// A task can tell where it was made: compilers give a coroutine no line of its caller, but when nothing is inlined there is the
// address to which its first part returns.
#if ROTA_ASSERTIONS && !defined(__OPTIMIZE__)
#define ROTA_KNOWS_CALLERS 1
#define ROTA_IF_CALLERS_ARE_KNOWN_INLINE [[gnu::always_inline]] inline
#else
#define ROTA_KNOWS_CALLERS 0
#define ROTA_IF_CALLERS_ARE_KNOWN_INLINE
#endif

// Coroutine frames come from a per-thread cache. -DROTA_PLAIN_FRAMES=1 uses operator new for each instead;
// the sanitizers imply it, so that they see every use after free of a frame.
#ifndef ROTA_PLAIN_FRAMES
#define ROTA_PLAIN_FRAMES (ROTA_ASAN || ROTA_TSAN)
#endif

// liburing is used when the build says that it is there; without it the library is epoll-only.
#ifndef ROTA_HAS_LIBURING
#if __has_include(<liburing.h>)
#define ROTA_HAS_LIBURING 1
#else
#define ROTA_HAS_LIBURING 0
#endif
#endif

// [[nodiscard(ROTA_UNAWAITED)]]: what compilers say, with the line, where an awaiter is made and thrown away.
#define ROTA_UNAWAITED "nothing happens until it is awaited: write co_await in front of it"
#define ROTA_UNASKED "nothing happens until it is asked for an item"

#define ROTA_NOINLINE [[gnu::noinline]]
#define ROTA_COLD [[gnu::noinline, gnu::cold]]
// For the rare branch of something short: it saves the registers, so that its caller need not. It must be noexcept: who unwinds
// restores fewer registers than the caller counts on. (clang 16 saves the register of the result, too, and with it loses the
// result.)
#if ROTA_CLANG && __clang_major__ >= 18 && (defined(__x86_64__) || defined(__aarch64__))
#define ROTA_RARE [[gnu::noinline, clang::preserve_most]]
#else
#define ROTA_RARE [[gnu::noinline]]
#endif
