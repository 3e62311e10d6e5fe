// A pointer that owns. (std::unique_ptr's header brings in the streams, and costs more than both backends do.)
#pragma once

#include <utility>

namespace rota::detail {

/// Owns an object made with new; takes over from a std::unique_ptr.
template <class T>
class owned {
 public:
  explicit owned(T* object = nullptr) noexcept : object_(object) {}
  owned(owned&& other) noexcept : object_(other.release()) {}
  template <class Pointer>
    requires requires(Pointer other, T*& object) { object = other.release(); }
  owned(Pointer other) noexcept : object_(other.release()) {}
  owned& operator=(owned&& other) noexcept {
    delete std::exchange(object_, other.release());
    return *this;
  }
  ~owned() { delete object_; }

  explicit operator bool() const noexcept { return object_ != nullptr; }
  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  T* release() noexcept { return std::exchange(object_, nullptr); }

 private:
  T* object_;
};

}  // namespace rota::detail
