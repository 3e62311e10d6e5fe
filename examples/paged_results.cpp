// Shows: generators. Pages of results as one stream of items, a pipeline over two of them at once, cleanup that awaits when
// it is left early, a recursive generator, and ticks.
// Run:   ./dev build release && build/release/examples/paged_results        (it ends by itself)

// [program]
#include <rota/rota.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

// A server that answers slowly, three results to a page, and wants to be told when a listing ends.
struct catalogue {
  explicit catalogue(std::string n) : name(std::move(n)) {}

  rota::task<std::vector<std::string>> page(int number) const {
    co_await rota::sleep_for(10ms);
    std::vector<std::string> results;
    for (int i = 3 * number; number != 4 && i != 3 * number + 3; ++i) results.push_back(name + std::to_string(i));
    co_return results;
  }
  rota::task<> end_listing() const {
    co_await rota::sleep_for(1ms);
    std::printf("the listing of %s has ended\n", name.c_str());
  }

  std::string name;
};

// Its pages as one stream. A page is fetched when somebody wants its first item.
rota::async_generator<std::string> listing(const catalogue& from) {
  std::exception_ptr error;
  try {
    for (int number = 0;; ++number) {
      std::vector<std::string> page = co_await from.page(number);
      if (page.empty()) break;
      for (std::string& one : page) co_yield std::move(one);
    }
  } catch (...) {  // co_yield throws when the generator is closed before its end
    error = std::current_exception();
  }
  co_await rota::shield(1s, from.end_listing());
  if (error) std::rethrow_exception(error);
}

rota::task<> one_by_one(const catalogue& books) {
  auto items = listing(books);
  int count = 0;
  while (auto item = co_await items.next()) ++count;
  std::printf("%s has %d\n", books.name.c_str(), count);
}

// for_each and collect close what they were given, also when take() has had enough.
rota::task<> pipeline(const catalogue& books, const catalogue& films) {
  const auto is_odd = [](const std::string& item) { return (item.back() - '0') % 2 != 0; };
  const auto look_up = [](std::string item) -> rota::task<std::string> {
    co_await rota::sleep_for(2ms);
    co_return item + "!";
  };
  const auto store = [](std::vector<std::string> batch) {
    for (const std::string& item : batch) std::printf("%s ", item.c_str());
    std::printf("stored at once\n");
  };
  co_await rota::for_each(rota::merge(listing(books), listing(films)) | rota::filter(is_odd) | rota::map(look_up) |
                              rota::take(5) | rota::chunk(2),
                          store);
}

// Where no scope fits, with() closes it on every way out of its body.
rota::task<> by_hand(const catalogue& films) {
  const auto body = [](rota::async_generator<std::string>& items) -> rota::task<> {
    while (auto item = co_await items.next())
      if (*item == "film2") co_return;
  };
  co_await rota::with(1s, listing(films), body);
}

// No await in it: a plain range, whose recursion costs nothing per element.
rota::generator<std::string> outline(std::string title, int depth) {
  co_yield title;
  for (int i = 1; depth != 0 && i <= 2; ++i)
    co_yield rota::elements_of(outline(title + "." + std::to_string(i), depth - 1));
}

rota::task<> show() {
  const catalogue books("book");
  const catalogue films("film");
  co_await one_by_one(books);
  co_await pipeline(books, films);
  co_await by_hand(films);

  for (const std::string& title : outline("1", 2)) std::printf("%s  ", title.c_str());
  std::printf("\n");

  rota::interval tick(20ms, rota::missed_tick::skip);
  const auto start = co_await tick.next();  // at once
  co_await rota::sleep_for(50ms);           // the ticks at 20 and 40 ms pass
  (void)co_await tick.next();               // the one at 20 ms, late
  const auto next = co_await tick.next();
  std::printf("the next tick is due after %d ms\n", static_cast<int>((*next - *start) / 1ms));
}

int main() { return rota::run_main(show()); }
// [/program]
