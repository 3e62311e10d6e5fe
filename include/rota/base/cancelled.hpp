// What a cancelled task sees: an exception that says who cancelled it and why.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <source_location>
#include <string_view>
#include <utility>

namespace rota {

class scope_node;

/// Why a scope was cancelled.
enum class cancel_kind : std::uint8_t {
  requested,  ///< somebody called cancel()
  deadline,   ///< a deadline passed
  sibling,    ///< another child of the same group failed
  shutdown,   ///< the event loop is going down
  interrupt,  ///< SIGINT or SIGTERM reached run_main
};

namespace detail {

// Shared by the scope that was cancelled and every exception made of it; text follows the object in its block.
// Counted without atomics: a scope and its exceptions belong to one executor; crossing threads copies the text.
struct cancel_record {
  std::uint32_t references = 1;
  cancel_kind kind = cancel_kind::requested;
  std::source_location where;
  std::int64_t noticed_at = 0;  // by the loop's clock; only in debug mode
  std::size_t length = 0;

  // Cancelling must not fail: without memory there is no record, and the exception has no text.
  static cancel_record* make(cancel_kind kind, std::string_view text, std::source_location where) noexcept {
    void* block = std::malloc(sizeof(cancel_record) + text.size());
    if (!block) return nullptr;
    auto* record = new (block) cancel_record;
    record->kind = kind;
    record->where = where;
    record->length = text.size();
    if (!text.empty()) __builtin_memcpy(static_cast<void*>(record + 1), text.data(), text.size());
    return record;
  }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(this + 1), length}; }
  static cancel_record* share(cancel_record* record) noexcept {
    if (record) ++record->references;
    return record;
  }
  // Out of line: GCC 12 cannot count references, and warns of a use after free where several copies end.
  [[gnu::noinline]] static void release(cancel_record* record) noexcept {
    if (record && --record->references == 0) std::free(record);
  }
};

}  // namespace detail

/// Thrown out of a suspension point of a cancelled scope. Deliberately not a std::exception, so that
/// `catch (std::exception const&)` cannot swallow it. Catch it only to clean up, then rethrow: the scope stays
/// cancelled, and the next suspension point throws again.
class cancelled final {
 public:
  /// `task` identifies the task in which it was thrown; `record` is shared.
  explicit cancelled(const scope_node* task, detail::cancel_record* record) noexcept
      : task_(task), record_(detail::cancel_record::share(record)) {}
  cancelled(const cancelled& other) noexcept
      : task_(other.task_), record_(detail::cancel_record::share(other.record_)) {}
  cancelled& operator=(const cancelled& other) noexcept {
    task_ = other.task_;
    detail::cancel_record::release(std::exchange(record_, detail::cancel_record::share(other.record_)));
    return *this;
  }
  ~cancelled() { detail::cancel_record::release(record_); }

  cancel_kind kind() const noexcept { return record_ ? record_->kind : cancel_kind::requested; }
  /// The text given to cancel(); empty when none was given. Lives as long as this object.
  std::string_view reason() const noexcept { return record_ ? record_->text() : std::string_view(); }
  /// The line that called cancel(), or that set the deadline.
  std::source_location where() const noexcept { return record_ ? record_->where : std::source_location(); }

  /// Which task threw it; for the library.
  const scope_node* task() const noexcept { return task_; }

 private:
  const scope_node* task_;
  detail::cancel_record* record_;
};

}  // namespace rota
