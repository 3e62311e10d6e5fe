// The word of a strand: no post is lost or read too early, no two workers run the strand at once, and each of them sees what
// the one before it has written.
#include "checker.hpp"

#include <rota/pool/strand_inbox.hpp>

namespace {

using rota::detail::posted;
using rota::detail::strand_inbox;
using rota_model::plain;
using rota_model::require;
using rota_model::unordered;

struct item : posted {
  plain<int> number{0};  // written before the post
};

// What could be wrong around the word.
enum class slip { none, queues_nobody, queues_always, works_after_rest };

template <slip Slip>
constexpr const char* name_of = "strand: two threads post, two workers take turns";
template <>
constexpr const char* name_of<slip::queues_nobody> = "strand: a poster that finds it idle does not queue it";
template <>
constexpr const char* name_of<slip::queues_always> = "strand: a poster queues it whatever it finds";
template <>
constexpr const char* name_of<slip::works_after_rest> = "strand: a worker touches the strand after its rest";

// strand::post and strand::run_on, without the rest of the pool. Its queue
// orders what came before with what comes after, as a mutex would.
template <slip Slip, int Posts>
struct taking_turns : rl::test_suite<taking_turns<Slip, Posts>, 4> {
  static constexpr const char* name = name_of<Slip>;

  void before() { queue(); }
  void thread(unsigned id) {
    if (id < 2)
      post_all(id);
    else
      work();
  }
  void after() {
    require(received.get() == 2 * Posts);
    require(runs_now.get() == 0);
  }

  void post_all(unsigned id) {
    for (int i = 0; i != Posts; ++i) {
      item& it = items[static_cast<int>(id) * Posts + i];
      it.number.set(i + 1);
      const bool rested = box.post(it);
      if ((rested && Slip != slip::queues_nobody) || Slip == slip::queues_always) queue();
    }
  }
  void queue() { queued.fetch_add(1, rl::mo_seq_cst, {}); }
  bool take() {
    int n = queued.load(rl::mo_seq_cst, {});
    while (n != 0)
      if (queued.compare_exchange_strong(n, n - 1, rl::mo_seq_cst, {})) return true;
    return false;
  }
  // Until everything was received.
  void work() {
    while (received.get() != 2 * Posts) {
      if (!take()) {
        (void)box.rests();  // a dump may ask at any moment
        rl::yield(1, {});
        continue;
      }
      run();
    }
  }
  void run() {
    require(runs_now.add(1) == 0);
    for (;;) {
      state.set(state.get() + 1);  // of the task: plain memory, as everything of a strand
      if (!box.empty()) {
        for (posted* p = box.take(); p; p = p->next) {
          item& it = static_cast<item&>(*p);
          const int from = &it < &items[Posts] ? 0 : 1;
          require(it.number.get() == last[from].get() + 1);  // in the order of posting
          last[from].set(it.number.get());
          received.add(1);
        }
      }
      runs_now.add(-1);
      if (box.rest()) {
        if (Slip == slip::works_after_rest) state.set(0);
        return;
      }
      runs_now.add(1);
    }
  }

  strand_inbox box;
  rl::atomic<int> queued{0};
  item items[2 * Posts];
  plain<int> last[2];
  plain<int> state{0};
  unordered<int> received;
  unordered<int> runs_now;
};

}  // namespace

int main() {
  using rota_model::broken;
  using rota_model::checks;
  return rota_model::run(checks<taking_turns<slip::none, 1>, taking_turns<slip::none, 2>>(),
                         broken<taking_turns<slip::queues_nobody, 2>, taking_turns<slip::queues_always, 2>,
                                taking_turns<slip::works_after_rest, 2>>(),
                         50'000, {"pool/strand_inbox.hpp"});
}
