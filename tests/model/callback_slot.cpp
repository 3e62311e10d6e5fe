// The slot of a callback: one caller of many is taken, none after a cancel or for a later await, copies that are dropped
// break the promise once, and a stream is there as long as somebody pushes.
#include "checker.hpp"

#include <cstring>

#include <rota/adapt/callback_slot.hpp>

namespace {

using rota::detail::callback_slot;
using rota_model::event;
using rota_model::plain;
using rota_model::require;
using rota_model::unordered;

constexpr char of_our_type = 0;

// What callback_wait and callback_state of adapt/from_callback.hpp do with the slot, and nothing else of them.
struct await {
  plain<int> result{0};      // whoever has claimed writes it
  bool starting = true;      // the loop's thread only
  bool called_here = false;  // likewise
};

struct shared_slot {
  static constexpr const void* home = &of_our_type;  // the loop

  // ---- the loop's thread

  void begin(await& a, ROTA_MODEL_SITE) { handle.set(slot.begin(&a, home, &of_our_type, where)); }
  // The value, or that of the last callback that was dropped.
  int finish(await& a) {
    a.starting = false;
    if (!a.called_here) posted.wait();
    slot.end();
    return a.result.get();
  }
  bool call_here(std::uint64_t generation, int value) {
    auto* const a = static_cast<await*>(slot.claim_here(generation, home));
    return a ? give_here(*a, value) : false;
  }
  bool call_shared_here(std::uint64_t generation, int value) {
    auto* const a = static_cast<await*>(slot.claim(generation, &of_our_type));
    return a ? give_here(*a, value) : false;
  }
  bool give_here(await& a, int value) {
    a.result.set(value);
    if (a.starting)
      a.called_here = true;
    else
      posted.set();
    return true;
  }

  // ---- other threads

  bool call(std::uint64_t generation, int value) {
    auto* const a = static_cast<await*>(slot.claim(generation, &of_our_type));
    if (!a) return false;
    a->result.set(value);
    posted.set();
    return true;
  }
  void drop(std::uint64_t generation) {
    auto* const a = static_cast<await*>(slot.remove(generation));
    if (!a) return;
    a->result.set(-1);
    posted.set();
  }
  // How a thread comes by a handle is the library's affair; what is checked here is that it needs no ordering.
  std::uint64_t wait_for_handle(std::uint64_t after = 0) {
    for (;;) {
      const std::uint64_t generation = handle.get();
      if (generation > after) return generation;
      rl::yield(1, {});
    }
  }

  callback_slot slot;
  event posted;  // executor::post()
  unordered<std::uint64_t> handle;
};

// A library in C that calls twice, on two threads, one of them perhaps the loop's.
enum class caller { others, loop_too, loop_too_by_plain_store };

template <caller Caller>
struct c_library_calls_twice : rl::test_suite<c_library_calls_twice<Caller>, 3> {
  static constexpr const char* name = Caller == caller::others ? "slot: two threads call"
                                      : Caller == caller::loop_too
                                          ? "slot: three threads call, one of them the loop's"
                                          : "slot: a C handle is claimed by a plain store on the loop's thread";

  void thread(unsigned id) {
    if (id != 0) {
      if (self.call(self.wait_for_handle(), static_cast<int>(id))) taken.add(static_cast<int>(id));
      return;
    }
    await one;
    self.begin(one);
    const std::uint64_t generation = self.handle.get();
    self.slot.add(generation);     // the C handle
    self.slot.remove(generation);  // the C++ callback, which the C handle outlives
    if (Caller == caller::loop_too && self.call_shared_here(generation, 3)) taken.add(3);
    if (Caller == caller::loop_too_by_plain_store && self.call_here(generation, 3)) taken.add(3);
    const int value = self.finish(one);
    // The slot serves another await, in which nobody else has a part.
    await two;
    const std::uint64_t next = self.slot.begin(&two, shared_slot::home, &of_our_type, nullptr);
    require(self.call_here(next, 7));
    require(self.finish(two) == 7);
    got = value;
  }
  void after() { require(taken.get() == got); }

  shared_slot self;
  unordered<int> taken;
  int got = 0;
};

// Every call but one is a second one. What end() may lose costs one report too many, not more.
struct second_calls_are_reported : rl::test_suite<second_calls_are_reported, 3> {
  static constexpr const char* name = "slot: second calls are reported";

  void thread(unsigned id) {
    if (id != 0) {
      const std::uint64_t generation = self.wait_for_handle();
      self.call(generation, 1);
      self.call(generation, 2);
      return;
    }
    reports = wrong_lines = 0;
    await one;
    self.begin(one);
    self.finish(one);
  }
  void after() {
    require(reports == 1 || reports == 2);
    require(wrong_lines == 0);
  }
  static void count(const char* text) noexcept {
    ++reports;
    wrong_lines += std::strstr(text, "callback_slot.cpp") == nullptr;
  }

  shared_slot self;
  static inline int reports = 0;
  static inline int wrong_lines = 0;
};

// A call and a cancel; then another await of the same slot, which the late call must leave alone.
struct call_meets_cancel : rl::test_suite<call_meets_cancel, 2> {
  static constexpr const char* name = "slot: a call meets a cancel";

  void thread(unsigned id) {
    if (id != 0) {
      const std::uint64_t generation = self.wait_for_handle();
      if (self.call(generation, 1)) called.add(1);
      require(!self.call(generation, 2));
      return;
    }
    {
      await one;
      self.begin(one);
      if (self.slot.withdraw()) {
        one.result.set(0);  // the frame ends
      } else {
        require(self.finish(one) == 1);
        finished = 1;
      }
    }
    await two;
    const std::uint64_t next = self.slot.begin(&two, shared_slot::home, &of_our_type, nullptr);
    require(!self.slot.is_claimed());
    require(self.call_here(next, 7));
    require(self.slot.is_claimed());
    require(self.finish(two) == 7);
  }
  void after() { require(called.get() == finished); }

  shared_slot self;
  unordered<int> called;
  int finished = 0;
};

// Three copies of a C++ callback, each used up on a thread of its own.
struct copies_are_dropped : rl::test_suite<copies_are_dropped, 3> {
  static constexpr const char* name = "slot: three copies are dropped";

  void thread(unsigned id) {
    if (id != 0) {
      const std::uint64_t generation = self.wait_for_handle();
      mine[id - 1].set(1);
      self.drop(generation);
      return;
    }
    await one;
    const std::uint64_t generation = self.slot.begin(&one, shared_slot::home, &of_our_type, nullptr);
    self.slot.add(generation);
    self.slot.add(generation);
    self.handle.set(generation);
    one.starting = false;
    self.drop(generation);
    require(self.finish(one) == -1);
    for (auto& m : mine) require(m.get() == 1);  // who waited sees all that was done before the copies went
  }

  shared_slot self;
  plain<int> mine[2];
};

// Copies are made on one thread while others are dropped or called elsewhere.
struct copy_and_call : rl::test_suite<copy_and_call, 3> {
  static constexpr const char* name = "slot: a copy is made, one is dropped, one is called";

  void thread(unsigned id) {
    if (id != 0) {
      const std::uint64_t generation = self.wait_for_handle();
      if (id == 1) {
        self.slot.add(generation);
        self.drop(generation);
        if (self.call(generation, 1)) taken.add(1);
      }
      self.drop(generation);
      return;
    }
    await one;
    const std::uint64_t generation = self.slot.begin(&one, shared_slot::home, &of_our_type, nullptr);
    self.slot.add(generation);
    self.handle.set(generation);
    require(self.finish(one) == 1);
  }
  void after() { require(taken.get() == 1); }

  shared_slot self;
  unordered<int> taken;
};

// A stream that two threads push to, while it ends.
struct pushes_meet_the_end : rl::test_suite<pushes_meet_the_end, 3> {
  static constexpr const char* name = "slot: pushes meet the end of a stream";

  struct stream {
    rl::atomic<int> items{0};  // stands for what the stream's mutex guards
    plain<int> alive{1};
    bool is_first = true;
  };

  void thread(unsigned id) {
    if (id != 0) {
      const std::uint64_t generation = self.wait_for_handle();
      if (auto* const s = static_cast<stream*>(self.slot.pin(generation, &of_our_type))) {
        require(s->alive.get() == 1 && s->is_first);
        s->items.fetch_add(1, rl::mo_relaxed, {});
        self.slot.unpin();
        pushed.add(1);
      }
      return;
    }
    stream first;
    const std::uint64_t generation = self.slot.begin(&first, nullptr, &of_our_type, nullptr);
    self.handle.set(generation);
    rl::yield(1, {});
    self.slot.end_pinned();
    first.alive.set(0);
    items = first.items.load(rl::mo_relaxed, {});
    // The slot serves another stream.
    stream second;
    second.is_first = false;
    require(self.slot.begin(&second, nullptr, &of_our_type, nullptr) != generation);
    require(self.slot.pin(generation, &of_our_type) == nullptr);
    self.slot.end_pinned();
  }
  void after() { require(pushed.get() == items); }

  shared_slot self;
  unordered<int> pushed;
  int items = 0;
};

}  // namespace

int main() {
  rota::set_report_handler(&second_calls_are_reported::count);
  using rota_model::broken;
  using rota_model::checks;
  return rota_model::run(
      checks<c_library_calls_twice<caller::others>, c_library_calls_twice<caller::loop_too>, second_calls_are_reported,
             call_meets_cancel, copies_are_dropped, copy_and_call, pushes_meet_the_end>(),
      broken<c_library_calls_twice<caller::loop_too_by_plain_store>>(), 10'000, {"adapt/callback_slot.hpp"});
}
