// generator<T>: a coroutine as a range. Synchronous: its body awaits nothing.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

#include <rota/base/report.hpp>
#include <rota/base/usage_error.hpp>
#include <rota/coro/frame_memory.hpp>
#include <rota/coro/yielding.hpp>

namespace rota {

template <class T>
class generator;

namespace detail {

// Generators nest by co_yield elements_of(inner). All of a nest know its root, and the root knows who runs: so an element
// takes one resumption at any depth. Who hands over to another (down at elements_of, up at the end) suspends, and the
// root's loop resumes that one: no call within a call, whatever the compiler makes of symmetric transfer (rule R5).
struct generator_node {
  void* frame = nullptr;
  generator_node* root = this;
  generator_node* outer = nullptr;    // who awaits our end; null in a root
  generator_node* top = nullptr;      // in a root: who is resumed next; null before the start and after the end
  const void* item = nullptr;         // in a root: what was yielded; null at the end
  generator_node** holder = nullptr;  // nested: the pointer that owns us, in outer's frame
  std::exception_ptr error;
  bool started = false;
  bool running = false;  // in a root: within advance()

  generator_node() noexcept = default;
  generator_node(const generator_node&) = delete;
  generator_node& operator=(const generator_node&) = delete;
};

[[noreturn]] ROTA_COLD inline void refuse_generator(const char* what) {
  throw usage_error(usage_error::kind::invalid_argument, what);
}

/// Runs the nest to its next element or its end. An exception of the root's body comes out.
inline void advance(generator_node& root) {
  if (!root.top) [[unlikely]]
    refuse_generator("an iterator of a rota::generator was incremented past the end");
  if (root.running) [[unlikely]]
    refuse_generator(
        "an iterator of a rota::generator was incremented by the body of the generator, which runs already");
  root.item = nullptr;
  root.running = true;
  do {
    std::coroutine_handle<>::from_address(root.top->frame).resume();
  } while (!root.item && root.top);
  root.running = false;
  if (root.error) [[unlikely]]
    std::rethrow_exception(std::exchange(root.error, nullptr));
}
inline void begin_generator(generator_node* root) {
  if (!root) [[unlikely]]
    refuse_generator("an empty or moved-from rota::generator was iterated");
  if (root->started) [[unlikely]]
    refuse_generator("a rota::generator was iterated twice: its elements come once");
  root->started = true;
  root->top = root;
  advance(*root);
}
/// The innermost first, and each by itself: a deep nest needs no deep stack.
inline void destroy_generator(generator_node& root) noexcept {
  if (root.running) [[unlikely]]
    trap("a rota::generator was destroyed or replaced by its own body");
  for (generator_node* one = root.top ? root.top : &root;;) {
    generator_node* const outer = one->outer;
    const bool last = one == &root;
    if (one->holder) *one->holder = nullptr;
    std::coroutine_handle<>::from_address(one->frame).destroy();
    if (last) return;
    one = outer;
  }
}

class generator_end {
 public:
  explicit generator_end(generator_node& node) noexcept : node_(node) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept { node_.root->top = node_.outer; }
  void await_resume() const noexcept {}

 private:
  generator_node& node_;
};

// What is yielded as an lvalue, where the consumer may move from it.
template <class T>
class yielded_copy {
 public:
  yielded_copy(const T& original, generator_node& root) : copy_(original) { root.item = std::addressof(copy_); }
  yielded_copy(const yielded_copy&) = delete;
  yielded_copy& operator=(const yielded_copy&) = delete;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  void await_resume() const noexcept {}

 private:
  T copy_;
};

// Owns a nested generator for the length of a co_yield.
class nested_generator {
 public:
  nested_generator(generator_node* inner, generator_node& outer) : inner_(inner) {
    if (!inner) refuse_generator("co_yield elements_of() got an empty or moved-from rota::generator");
    inner->holder = &inner_;
    inner->outer = &outer;
  }
  nested_generator(const nested_generator&) = delete;
  nested_generator& operator=(const nested_generator&) = delete;
  ~nested_generator() {
    if (inner_) std::coroutine_handle<>::from_address(inner_->frame).destroy();
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<>) const noexcept {
    generator_node& root = *inner_->outer->root;
    inner_->root = &root;
    inner_->started = true;
    root.top = inner_;
  }
  void await_resume() const {
    if (inner_->error) std::rethrow_exception(inner_->error);
  }

 private:
  generator_node* inner_;
};

template <class T>
class generator_promise : public generator_node {
  using object = std::remove_reference_t<T>;

 public:
  static void* operator new(std::size_t size) { return frame_memory::allocate(size); }
  static void operator delete(void* block, std::size_t size) noexcept { frame_memory::deallocate(block, size); }

  generator<T> get_return_object() noexcept;
  std::suspend_always initial_suspend() const noexcept { return {}; }
  generator_end final_suspend() noexcept { return generator_end(*this); }
  void unhandled_exception() noexcept { error = std::current_exception(); }
  void return_void() const noexcept {}

  std::suspend_always yield_value(object& yielded) noexcept
    requires std::is_lvalue_reference_v<T>
  {
    root->item = std::addressof(yielded);
    return {};
  }
  std::suspend_always yield_value(object&& yielded) noexcept
    requires(!std::is_lvalue_reference_v<T> || std::is_const_v<object>)
  {
    ROTA_REFUSE_OWNING_AGGREGATE(object);
    root->item = std::addressof(yielded);
    return {};
  }
  yielded_copy<object> yield_value(const object& yielded)
    requires(!std::is_lvalue_reference_v<T> && std::copy_constructible<object>)
  {
    return yielded_copy<object>(yielded, *root);
  }
  std::suspend_always yield_value(by_move<object> yielded) noexcept
    requires(!std::is_lvalue_reference_v<T>)
  {
    root->item = std::addressof(yielded.object());
    return {};
  }

  nested_generator yield_value(elements_of<generator<T>> inner);
  template <class R>
  nested_generator yield_value(elements_of<R> other) {
    static_assert(!std::is_same_v<std::remove_cvref_t<R>, generator<T>>,
                  "a generator is handed over: write co_yield rota::elements_of(std::move(inner))");
    return yield_value(elements_of(from_range<R>(static_cast<R&&>(other.range()))));
  }

  void await_transform(auto&&) = delete;  // a rota::generator awaits nothing: rota::async_generator does

 private:
  // The range outlives this generator: both live for one co_yield.
  template <class R>
  static generator<T> from_range(R&& range) {
    for (auto&& one : range) co_yield static_cast<decltype(one)&&>(one);
  }
};

}  // namespace detail

/// A lazy coroutine that yields elements, as std::generator of C++23 does: a range that is iterated once, with range-for or
/// as an input range of std::ranges. Owns the coroutine; may be moved, not copied. T is a value (the consumer gets a T&& of
/// what was yielded, a copy if that was an lvalue) or a reference (yielded as such).
///
/// The body runs inside begin() and ++, on any thread, one at a time. Its exceptions come out there; then it has ended.
/// Destroying the generator destroys the body where it stands, at a co_yield, with all generators nested in it, the innermost
/// first. Misuse throws usage_error: begin() a second time, or of an empty generator; ++ after the end, or by the body itself.
/// A body that destroys its own generator ends the program.
template <class T>
class [[nodiscard("a generator does nothing until it is iterated")]] generator {
 public:
  using promise_type = detail::generator_promise<T>;
  using value_type = std::remove_cvref_t<T>;
  using reference = std::conditional_t<std::is_reference_v<T>, T, T&&>;

  struct sentinel {};
  class iterator {
   public:
    using value_type = generator::value_type;
    using difference_type = std::ptrdiff_t;

    iterator(iterator&&) noexcept = default;
    iterator& operator=(iterator&&) noexcept = default;

    reference operator*() const noexcept {
      using object = std::remove_reference_t<T>;
      return static_cast<reference>(*static_cast<object*>(const_cast<void*>(root_->item)));
    }
    iterator& operator++() {
      detail::advance(*root_);
      return *this;
    }
    void operator++(int) { detail::advance(*root_); }
    friend bool operator==(const iterator& at, sentinel) noexcept { return !at.root_->item; }

   private:
    friend generator;
    explicit iterator(detail::generator_node& root) noexcept : root_(&root) {}

    detail::generator_node* root_;
  };

  generator() noexcept = default;
  generator(generator&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  generator& operator=(generator&& other) noexcept {
    if (this != &other) {
      drop();
      node_ = std::exchange(other.node_, nullptr);
    }
    return *this;
  }
  ~generator() { drop(); }

  /// Runs the body to its first element. Once.
  iterator begin() {
    detail::begin_generator(node_);
    return iterator(*node_);
  }
  sentinel end() const noexcept { return {}; }

 private:
  friend promise_type;
  explicit generator(detail::generator_node& node) noexcept : node_(&node) {}

  void drop() noexcept {
    if (node_) detail::destroy_generator(*node_);
  }

  detail::generator_node* node_ = nullptr;
};

namespace detail {

template <class T>
generator<T> generator_promise<T>::get_return_object() noexcept {
  frame = std::coroutine_handle<generator_promise>::from_promise(*this).address();
  return generator<T>(*this);
}
template <class T>
nested_generator generator_promise<T>::yield_value(elements_of<generator<T>> inner) {
  generator<T>& made = inner.range();
  if (made.node_ && made.node_->started)
    refuse_generator("co_yield elements_of() got a rota::generator that was iterated before");
  return nested_generator(std::exchange(made.node_, nullptr), *this);
}

}  // namespace detail
}  // namespace rota
