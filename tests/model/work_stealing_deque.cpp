// The deque of a pool's worker: every item is taken once, by somebody who sees what it points to; the ring grows meanwhile.
#include "checker.hpp"

#include <rota/pool/work_stealing_deque.hpp>

namespace {

using rota_model::plain;
using rota_model::require;
using rota_model::unordered;

struct item {
  plain<int> content{0};  // written before the push, again by whoever takes it
  unordered<int> taken;
};

using deque = rota::detail::work_stealing_deque<item>;

// The owner pushes one, then several at once, pops and pushes again, as forks do; thieves steal. What is left at the end is popped.
template <unsigned Thieves, unsigned Items, unsigned Steals, unsigned Capacity>
struct taken_once : rl::test_suite<taken_once<Thieves, Items, Steals, Capacity>, 1 + Thieves> {
  static constexpr const char* name = Thieves == 1    ? "deque: one thief"
                                      : Capacity == 1 ? "deque: two thieves, and a ring that grows"
                                                      : "deque: two thieves";

  void thread(unsigned id) {
    if (id != 0) {
      for (unsigned i = 0; i != Steals; ++i) take(self.steal());
      return;
    }
    constexpr unsigned more = Items - 2;
    push(0);
    require(self.reserve(more));
    for (unsigned i = 0; i != more; ++i) {
      items[1 + i].content.set(1);
      self.put(i, &items[1 + i]);
    }
    self.publish(more);
    require(self.size() <= Items);
    take(self.pop());
    take(self.pop());
    push(Items - 1);
    take(self.pop());
  }
  void after() {
    while (item* left = self.pop()) take(left);
    for (item& i : items) require(i.taken.get() == 1);
    require(self.size() == 0);
  }

  void push(unsigned i) {
    items[i].content.set(1);
    require(self.push(&items[i]));
  }
  void take(item* taken) {
    if (!taken) return;
    require(taken->content.get() == 1);
    taken->content.set(2);
    taken->taken.add(1);
  }

  deque self{Capacity};
  item items[Items];
};

// What was pushed is there for others.
struct pushed_is_there : rl::test_suite<pushed_is_there, 2> {
  static constexpr const char* name = "deque: what was pushed can be stolen";

  void thread(unsigned id) {
    if (id != 0) {
      pushed.wait();
      require(self.size() == 1);
      require(self.steal() == &one);
      return;
    }
    require(self.pop() == nullptr);
    require(self.push(&one));
    pushed.set();
  }

  deque self{2};
  item one;
  rota_model::event pushed;
};

}  // namespace

int main() {
  using rota_model::broken;
  using rota_model::checks;
  return rota_model::run(
      checks<taken_once<1, 3, 2, 4>, taken_once<2, 3, 2, 4>, taken_once<2, 4, 2, 1>, pushed_is_there>(), broken<>(),
      30'000, {"pool/work_stealing_deque.hpp"},
      {{"::steal", "top_.load", "seq_cst to acquire",
        "relacy orders seq_cst operations as they happen, C++20 does not when an acquire is between them"},
       {"::size", "top_.load", "seq_cst to acquire", "a hint: forks publish by a release store (pool/parking.hpp)"},
       {"::size", "bottom_.load", "seq_cst to acquire", "a hint: forks publish by a release store (pool/parking.hpp)"},
       {"::pop", "top_.compare_exchange", "seq_cst to acq_rel",
        "an owner that wrote this top knows it, and pops without exchange only what lies above"},
       {"::make_room", "top_.load", "acquire to relaxed",
        "keeps a thief's read of a slot before its next use; relacy lets no load see a later store"}});
}
