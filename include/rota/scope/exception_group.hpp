// Several errors at once: what leaves a task group, when_all, when_any.
#pragma once

#include <atomic>
#include <cstddef>
#include <exception>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rota/coro/describe.hpp>

namespace rota {

/// One or more exceptions of tasks that ran together, in the order in which the tasks ended, that of a group's body last.
/// Always a group, also for one error, so that the code that handles it has one shape. A member may be an exception_group itself: nesting is
/// kept. Copies share their members; any thread may read them. Modelled on Python's ExceptionGroup (PEP 654).
class exception_group : public std::exception {
 public:
  /// One error and where it comes from: the task and its source line.
  struct member {
    member(std::exception_ptr e, std::string text) noexcept : error(std::move(e)), where(std::move(text)) {}
    std::exception_ptr error;
    std::string where;
  };

  /// `message` says what failed ("a task group, server.cpp:12"); `members` must not be empty.
  exception_group(std::string message, std::vector<member> members)
      : shared_(new shared(std::move(message), std::move(members))) {}
  exception_group(const exception_group& other) noexcept : std::exception(other), shared_(other.shared_) {
    shared_->references.fetch_add(1, std::memory_order_relaxed);
  }
  exception_group& operator=(const exception_group& other) noexcept {
    exception_group copy(other);
    std::swap(shared_, copy.shared_);
    return *this;
  }
  // acq_rel: whoever deletes sees everything that the others read or wrote before they let go.
  ~exception_group() override {
    if (shared_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete shared_;
  }

  /// For people: the message and a line for each member, nested ones indented below it; 20 members of a group, 32 KiB.
  const char* what() const noexcept override { return shared_->text.c_str(); }
  const std::string& message() const noexcept { return shared_->message; }
  const std::vector<member>& members() const noexcept { return shared_->members; }
  std::size_t size() const noexcept { return members().size(); }

  /// Every error that is no group, depth first.
  std::vector<std::exception_ptr> flatten() const {
    std::vector<std::exception_ptr> leaves;
    for_each_leaf(*this, [&](const std::exception_ptr& error) { leaves.push_back(error); });
    return leaves;
  }

  /// The first error of type E, or null. Lives as long as this group.
  template <class E>
  const E* find() const {
    const E* found = nullptr;
    for_each_leaf(*this, [&](const std::exception_ptr& error) {
      if (!found) found = as<E>(error);
    });
    return found;
  }
  /// The error, when it is the only one and an E; else null. Lives as long as this group.
  template <class E>
  const E* only() const {
    const E* found = nullptr;
    std::size_t leaves = 0;
    for_each_leaf(*this, [&](const std::exception_ptr& error) {
      if (++leaves == 1) found = as<E>(error);
    });
    return leaves == 1 ? found : nullptr;
  }

  struct parts;
  /// Two groups of the same nesting: the errors of type E, and the rest.
  template <class E>
  parts split() const;
  /// The same for the errors of which `matches(std::exception_ptr)` says true.
  template <class Predicate>
  parts split(Predicate matches) const;

 private:
  struct shared {
    shared(std::string m, std::vector<member> all) : message(std::move(m)), members(std::move(all)) {
      text = message + (members.size() == 1 ? " failed with 1 error"
                                            : " failed with " + std::to_string(members.size()) + " errors");
      print(members, 2);
    }
    void print(const std::vector<member>& all, std::size_t indent) {
      std::size_t shown = 0;
      for (const member& m : all) {
        if (shown == most_shown || text.size() >= longest_text) {
          text += '\n' + std::string(indent, ' ') + "- and " + std::to_string(all.size() - shown) + " more";
          return;
        }
        ++shown;
        text += '\n' + std::string(indent, ' ') + "- " + m.where + (m.where.empty() ? "" : ": ");
        const auto* nested = as<exception_group>(m.error);
        append_indented(nested ? nested->what() : detail::describe(m.error).c_str(), indent + 2);
      }
    }
    void append_indented(std::string_view lines, std::size_t indent) {
      for (;;) {
        const std::size_t end = lines.find('\n');
        text += lines.substr(0, end);
        if (end == std::string_view::npos) return;
        if (text.size() >= longest_text) {
          text += " ...";
          return;
        }
        text.append(1, '\n').append(indent, ' ');
        lines.remove_prefix(end + 1);
      }
    }

    std::atomic<std::size_t> references{1};
    std::string message;
    std::vector<member> members;
    std::string text;
  };
  static constexpr std::size_t most_shown = 20;
  // Each group of a nest has a text, and copies those of its members: without an end, a thousand levels took a quarter of a
  // minute, and four levels of twenty members each had several MB.
  static constexpr std::size_t longest_text = 32 * 1024;  // no further member or line begins after that

  // The exception object itself: std::exception_ptr refers to it, rethrowing does not copy it (Itanium C++ ABI).
  template <class E>
  static const E* as(const std::exception_ptr& error) noexcept {
    static_assert(!std::is_pointer_v<E>, "a thrown pointer is caught as a copy, which nobody can refer to");
    try {
      std::rethrow_exception(error);
    } catch (const E& e) {
      return &e;
    } catch (...) {
      return nullptr;
    }
  }
  template <class F>
  static void for_each_leaf(const exception_group& group, F&& f) {
    for (const member& m : group.members()) {
      if (const auto* nested = as<exception_group>(m.error))
        for_each_leaf(*nested, f);
      else
        f(m.error);
    }
  }

  shared* shared_;
};

struct exception_group::parts {
  std::optional<exception_group> matching;
  std::optional<exception_group> rest;
};

template <class Predicate>
exception_group::parts exception_group::split(Predicate matches) const {
  std::vector<member> in, out;
  for (const member& m : members()) {
    if (const auto* nested = as<exception_group>(m.error)) {
      const parts halves = nested->split(matches);
      if (halves.matching) in.emplace_back(std::make_exception_ptr(*halves.matching), m.where);
      if (halves.rest) out.emplace_back(std::make_exception_ptr(*halves.rest), m.where);
    } else {
      (matches(m.error) ? in : out).push_back(m);
    }
  }
  parts result;
  if (!in.empty()) result.matching.emplace(message(), std::move(in));
  if (!out.empty()) result.rest.emplace(message(), std::move(out));
  return result;
}
template <class E>
exception_group::parts exception_group::split() const {
  return split([](const std::exception_ptr& error) { return as<E>(error) != nullptr; });
}

namespace detail {
/// "a task group, server.cpp:42"
inline std::string message_at(const char* what, line_mark where) {
  const std::source_location at = source_line(where);
  return std::string(what) + ", " + at.file_name() + ":" + std::to_string(at.line());
}
}  // namespace detail

}  // namespace rota
