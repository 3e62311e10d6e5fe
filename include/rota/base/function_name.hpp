// Names of functions as compilers put them into std::source_location, made short enough for a report.
#pragma once

#include <cstddef>
#include <string_view>

#include <rota/base/config.hpp>

namespace rota::detail {

/// "rota::task<int> app::{anonymous}::server::run(int) const [with T = ...]" becomes "app::server::run", a lambda "a lambda
/// in main": no return type, parameters, template arguments or anonymous namespaces, and 127 characters at most.
class function_name {
 public:
  ROTA_COLD explicit function_name(std::string_view full) noexcept {
    full = full.substr(0, full.find(" ["));  // the arguments of a template
    bool is_lambda = false;
    int angles = 0;
    for (std::size_t i = 0; i < full.size() && !is_lambda;) {
      const std::string_view rest = full.substr(i);
      if (angles == 0 &&
          (rest.starts_with("<lambda") || rest.starts_with("(anonymous class)") || rest.starts_with("(lambda"))) {
        is_lambda = true;
      } else if (rest.starts_with("(anonymous namespace)::")) {
        i += 23;
      } else if (rest.starts_with("{anonymous}::")) {
        i += 13;
      } else if (rest.starts_with("operator()")) {
        if (angles == 0) add("operator()");
        i += 10;
      } else if (rest[0] == '(') {
        const std::size_t end = i + after_parameters(rest);
        if (angles == 0 && !full.substr(end).starts_with("::")) break;  // else something local to that function
        i = end;
      } else {
        angles += rest[0] == '<' ? 1 : rest[0] == '>' ? -1 : 0;
        if (angles == 0 && rest[0] != '>') put(rest[0]);
        ++i;
      }
    }
    while (size_ >= 2 && text_[size_ - 1] == ':') --size_;
    if (is_lambda) prepend(size_ != 0 ? "a lambda in " : "a lambda");
    text_[size_] = '\0';
  }
  const char* c_str() const noexcept { return text_; }

 private:
  static constexpr std::size_t longest = 127;

  static std::size_t after_parameters(std::string_view text) noexcept {
    int depth = 0;
    for (std::size_t i = 0; i != text.size(); ++i) {
      if (text[i] == '(') ++depth;
      if (text[i] == ')' && --depth == 0) return i + 1;
    }
    return text.size();
  }
  void put(char c) noexcept {
    if (c == ' ')
      size_ = 0;  // that was the return type
    else if (size_ != longest && (size_ != 0 || (c != '*' && c != '&')))
      text_[size_++] = c;
  }
  void add(std::string_view text) noexcept {
    for (const char c : text) put(c);
  }
  void prepend(std::string_view text) noexcept {
    const std::size_t kept = size_ + text.size() > longest ? longest - text.size() : size_;
    for (std::size_t i = kept; i != 0; --i) text_[i - 1 + text.size()] = text_[i - 1];
    text.copy(text_, text.size());
    size_ = kept + text.size();
  }

  char text_[longest + 1];
  std::size_t size_ = 0;
};

}  // namespace rota::detail
