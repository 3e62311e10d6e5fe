// What the workers of a pool sleep on: no work is left while all sleep, and a shutdown reaches everybody.
#include "checker.hpp"

#include <rota/pool/parking.hpp>

namespace {

using rota_model::require;
using rota_model::unordered;

// The promise of futex_semaphore.
class semaphore {
 public:
  semaphore() { permits_.init(false, 0, 100, {}); }
  ~semaphore() { permits_.deinit({}); }
  void release() {
    unsigned before = 0;
    permits_.post(1, before, {});
  }
  void acquire() { permits_.wait(false, false, {}); }
  bool acquire_briefly() { return permits_.wait(false, true, {}) == rl::sema_wakeup_reason_success; }

 private:
  rl::semaphore<semaphore> permits_;
};

// What could be wrong around the parking.
enum class slip { none, does_not_notify, does_not_look, goes_on_searching, ends_silently };

template <slip Slip>
constexpr const char* name_of = "parking: two workers, two jobs, a shutdown";
template <>
constexpr const char* name_of<slip::does_not_notify> = "parking: who publishes work notifies nobody";
template <>
constexpr const char* name_of<slip::does_not_look> = "parking: a worker does not look again before it sleeps";
template <>
constexpr const char* name_of<slip::goes_on_searching> = "parking: a worker that found work still counts as searching";
template <>
constexpr const char* name_of<slip::ends_silently> = "parking: a shutdown wakes nobody";

// The part of a pool that sleeps and wakes. Work is published by a seq_cst operation, as the parking demands.
template <slip Slip, int Workers, int Jobs>
struct pool : rl::test_suite<pool<Slip, Workers, Jobs>, Workers + 1> {
  static constexpr const char* name =
      Slip == slip::none && Workers == 1 ? "parking: one worker, two jobs, a shutdown" : name_of<Slip>;

  void thread(unsigned id) {
    if (id != 0) return work();
    for (int i = 0; i != Jobs; ++i) {
      jobs.fetch_add(1, rl::mo_seq_cst, {});
      if (Slip != slip::does_not_notify) parked.notify();
    }
    while (finished.get() != Jobs) rl::yield(1, {});
    over.store(1, rl::mo_seq_cst, {});
    if (Slip != slip::ends_silently) parked.wake_all();
  }
  void after() {
    require(finished.get() == Jobs);
    require(parked.sleeping() == 0 && parked.searching() == 0);
    require(!parked.hint());
  }

  void work() {
    while (true) {
      while (take()) finished.add(1);
      parked.begin_search();
      while (!take()) {
        if (is_over()) return parked.end_search();
        parked.sleep([&] { return Slip != slip::does_not_look && (has_jobs() || is_over()); });
      }
      if (Slip != slip::goes_on_searching) parked.end_search();
      finished.add(1);
    }
  }
  bool take() {
    int n = jobs.load(rl::mo_seq_cst, {});
    while (n != 0)
      if (jobs.compare_exchange_strong(n, n - 1, rl::mo_seq_cst, {})) return true;
    return false;
  }
  bool has_jobs() { return jobs.load(rl::mo_seq_cst, {}) != 0; }
  bool is_over() { return over.load(rl::mo_seq_cst, {}) != 0; }

  rota::detail::parking<semaphore> parked;
  rl::atomic<int> jobs{0};
  rl::atomic<int> over{0};
  unordered<int> finished;
};

}  // namespace

int main() {
  using rota_model::broken;
  using rota_model::checks;
  return rota_model::run(
      checks<pool<slip::none, 1, 2>, pool<slip::none, 2, 2>>(),
      broken<pool<slip::does_not_notify, 2, 2>, pool<slip::does_not_look, 2, 2>, pool<slip::goes_on_searching, 2, 2>,
             pool<slip::ends_silently, 2, 2>>(),
      50'000, {"pool/parking.hpp"},
      // The argument at the head of the header needs seq_cst of three operations, all of which are found: the load of
      // notify(), that of wake_all(), and a sleeper's move. The rest could be acq_rel, at the same price.
      {{"begin_search", "fetch_add", "seq_cst to acq_rel", "who misses a searcher looks for a sleeper"},
       {"end_search", "fetch_sub", "seq_cst to acq_rel", "the notify() after it reads this value or a later one"},
       {"notify", "compare_exchange", "seq_cst to acq", "who misses it fails in an exchange of its own"},
       {"sleep", "word_.load", "seq_cst to acquire", "an old value makes the exchange fail, which reads the latest"},
       {"sleep", "compare_exchange", "seq_cst to acq", "who misses it fails in an exchange of its own"},
       {"wake_all", "compare_exchange", "seq_cst to acq", "who misses it fails in an exchange of its own"}});
}
