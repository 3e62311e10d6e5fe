// Shows: files read on threads that may block, words counted on all CPUs, put together on the loop; the most frequent 20.
// Run:   build/release/examples/word_count docs        or: word_count include --threads 4 --top 5

#include <rota/rota.hpp>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "support/arguments.hpp"

namespace {

using word_counts = std::unordered_map<std::string, std::size_t>;

// Both block: for a thread of a lane.
std::vector<std::string> list_files(const std::string& root) {
  std::vector<std::string> files;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(root, std::filesystem::directory_options::skip_permission_denied))
    if (entry.is_regular_file()) files.push_back(entry.path().string());
  return files;
}
std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Computes: for the pool.
word_counts count_words(const std::string& text) {
  word_counts counts;
  std::string word;
  for (const char c : text + ' ') {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_') {
      word += c;
    } else if (!word.empty()) {
      ++counts[word];
      word.clear();
    }
  }
  return counts;
}

// [file]
rota::task<word_counts> count_file(rota::thread_pool& pool, std::string path) {
  const std::string text = co_await rota::file_lane().run(read_file, path);
  co_return co_await pool.run(count_words, text);
}
// [/file]

rota::task<int> program(std::string root, unsigned threads, std::size_t top) {
  rota::thread_pool pool(threads);
  const std::vector<std::string> files = co_await rota::to_thread(list_files, root);
  constexpr std::size_t at_once = 64;  // so much is in memory
  word_counts total;
  for (std::size_t first = 0; first < files.size(); first += at_once) {
    std::vector<rota::task<word_counts>> batch;
    for (std::size_t i = first; i != std::min(first + at_once, files.size()); ++i)
      batch.push_back(count_file(pool, files[i]));
    const std::vector<word_counts> counted = co_await rota::when_all(std::move(batch));
    for (const word_counts& counts : counted)  // back on the loop: no lock
      for (const auto& [word, count] : counts) total[word] += count;
  }
  std::vector<std::pair<std::size_t, std::string_view>> words;
  for (const auto& [word, count] : total) words.emplace_back(count, word);
  std::sort(words.rbegin(), words.rend());
  if (words.size() > top) words.resize(top);
  for (const auto& [count, word] : words) std::printf("%8zu %.*s\n", count, static_cast<int>(word.size()), word.data());
  std::printf("%zu files, %zu different words\n", files.size(), total.size());
  co_return 0;
}

}  // namespace

int main(int argc, char** argv) {
  support::arguments arguments(argc, argv, "usage: word_count DIRECTORY [--threads N] [--top WORDS]\n");
  const auto threads = arguments.number<unsigned>("--threads", 0, 0, 1000);
  const auto top = arguments.number<std::size_t>("--top", 20, 1, 100'000);
  const std::vector<std::string_view> words = arguments.words();
  arguments.end();
  if (words.size() != 1) arguments.refuse("one directory is needed");
  return rota::run_main(program(std::string(words[0]), threads, top));
}
