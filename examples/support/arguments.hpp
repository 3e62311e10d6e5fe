// The command line of the examples: --name VALUE or --name=VALUE, words without a name, --help.
// A mistake ends the program with exit code 2 and one line that says what was wrong.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rota/rota.hpp>

namespace support {

class arguments {
 public:
  /// `usage` is what --help prints.
  arguments(int argc, char** argv, const char* usage) : program_(argv[0]) {
    program_.remove_prefix(program_.rfind('/') + 1);
    for (int i = 1; i < argc; ++i) {
      const std::string_view word = argv[i];
      if (word == "--help" || word == "-h") {
        std::fputs(usage, stdout);
        std::exit(EXIT_SUCCESS);
      }
      if (!word.starts_with("--")) {
        words_.push_back(word);
      } else if (const std::size_t equals = word.find('='); equals != word.npos) {
        options_.emplace_back(word.substr(0, equals), word.substr(equals + 1));
      } else if (++i < argc) {
        options_.emplace_back(word, argv[i]);
      } else {
        refuse(std::string(word) + " needs a value");
      }
    }
  }

  /// The last value that was given, or the fallback.
  std::string_view text(std::string_view name, std::string_view fallback) {
    std::string_view value = fallback;
    std::erase_if(options_, [&](const auto& option) {
      if (option.first == name) value = option.second;
      return option.first == name;
    });
    return value;
  }
  template <class Integer>
  Integer number(std::string_view name, Integer fallback, Integer least, Integer most) {
    const std::string_view given = text(name, {});
    return given.data() ? to_number(std::string(name), given, least, most) : fallback;
  }
  rota::backend backend() {
    const std::string_view name = text("--backend", "auto");
    for (const auto choice : {rota::backend::automatic, rota::backend::io_uring, rota::backend::epoll})
      if (rota::to_string(choice) == name) return choice;
    refuse("--backend can be io_uring, epoll or auto, not '" + std::string(name) + "'");
  }
  /// What stands on the command line without a name.
  std::vector<std::string_view> words() { return std::exchange(words_, {}); }

  /// After the last question: whatever nobody asked for is a mistake.
  void end() const {
    if (!options_.empty()) refuse("there is no option " + std::string(options_.front().first));
    if (!words_.empty()) refuse("'" + std::string(words_.front()) + "' is not expected here");
  }

  template <class Integer>
  Integer to_number(const std::string& what, std::string_view text, Integer least, Integer most) const {
    Integer value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most)
      refuse(what + " can be " + std::to_string(least) + " to " + std::to_string(most) + ", not '" + std::string(text) +
             "'");
    return value;
  }
  [[noreturn]] void refuse(const std::string& why) const {
    std::fprintf(stderr, "%.*s: %s; see --help\n", static_cast<int>(program_.size()), program_.data(), why.c_str());
    std::exit(2);
  }

 private:
  std::string_view program_;
  std::vector<std::pair<std::string_view, std::string_view>> options_;
  std::vector<std::string_view> words_;
};

}  // namespace support
