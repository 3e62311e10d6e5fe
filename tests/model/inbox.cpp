// The inbox of an event loop, with a stand-in for the kernel's wait: nothing posted is lost, read too early or run out of
// order, the loop never sleeps on a post, and no poster touches a loop that has gone.
#include "checker.hpp"

#include <rota/loop/inbox.hpp>

namespace {

using rota::detail::inbox;
using rota::detail::posted;
using rota_model::event;
using rota_model::plain;
using rota_model::require;

struct item : posted {
  plain<int> number{0};  // written before the post
};

// What could be wrong around the inbox.
enum class slip { none, wakes_nobody, counts_before_it_wakes, sleeps_unasked, goes_at_once };

// event_loop::post, poll and ~event_loop, without the rest of the loop.
template <slip Slip>
struct loop {
  void post(item& work, int number) {
    work.number.set(number);
    if (!box.post(work)) return;
    if (Slip == slip::counts_before_it_wakes) box.woken();
    if (Slip != slip::wakes_nobody) wake.set();
    (void)alive.get();  // in the system call, which has woken the loop already
    if (Slip != slip::counts_before_it_wakes) box.woken();
  }
  posted* poll() {
    if (box.fall_asleep() || Slip == slip::sleeps_unasked) wake.wait();
    return box.take();
  }
  void destroy() {
    if (Slip != slip::goes_at_once) box.wait_for_posters();
    alive.set(0);
  }

  inbox box;
  event wake;  // the eventfd
  plain<int> alive{1};
};

template <slip Slip>
constexpr const char* name_of = "inbox: two threads post, the loop goes";
template <>
constexpr const char* name_of<slip::wakes_nobody> = "inbox: a poster that finds the loop asleep and does not wake it";
template <>
constexpr const char* name_of<slip::counts_before_it_wakes> =
    "inbox: a poster that counts its wake-up before it is back";
template <>
constexpr const char* name_of<slip::sleeps_unasked> = "inbox: a loop that sleeps although something came";
template <>
constexpr const char* name_of<slip::goes_at_once> = "inbox: a loop that goes without waiting for posters";

template <slip Slip>
struct posts_of_two_threads : rl::test_suite<posts_of_two_threads<Slip>, 3> {
  static constexpr const char* name = name_of<Slip>;

  void thread(unsigned id) {
    if (id != 0) {
      const unsigned first = (id - 1) * 2;
      self.post(items[first], 1);
      if (id == 1) self.post(items[first + 1], 2);
      return;
    }
    int received = 0;
    int last_of_first = 0;
    while (received != 3) {
      for (posted* p = self.poll(); p; p = p->next) {
        item& it = static_cast<item&>(*p);
        const int number = it.number.get();
        if (&it != &items[2]) {
          require(number == last_of_first + 1);
          last_of_first = number;
        }
        ++received;
      }
    }
    require(self.box.empty());
    self.destroy();
  }

  loop<Slip> self;
  item items[3];
};

// A loop inside another one falls asleep again and again, and looks in between.
struct guest_loop : rl::test_suite<guest_loop, 2> {
  static constexpr const char* name = "inbox: a guest loop";

  void thread(unsigned id) {
    if (id == 1) {
      self.post(items[0], 1);
      self.post(items[1], 2);
      return;
    }
    int received = 0;
    while (received != 2) {
      const bool quiet = self.box.fall_asleep();
      if (quiet && self.box.fall_asleep()) self.wake.wait();
      for (posted* p = self.box.take(); p; p = p->next) require(static_cast<item*>(p)->number.get() == ++received);
    }
    self.destroy();
  }

  loop<slip::none> self;
  item items[2];
};

}  // namespace

int main() {
  return rota_model::run(
      rota_model::checks<posts_of_two_threads<slip::none>, guest_loop>(),
      rota_model::broken<posts_of_two_threads<slip::wakes_nobody>, posts_of_two_threads<slip::counts_before_it_wakes>,
                         posts_of_two_threads<slip::sleeps_unasked>, posts_of_two_threads<slip::goes_at_once>>(),
      50'000, {"loop/inbox.hpp"});
}
