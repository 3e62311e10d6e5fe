// A channel's only receiver that has fetched a batch, and senders that find no room: nobody waits while there is some.
#include "checker.hpp"

#include <rota/sync/receiver_stock.hpp>

namespace {

using rota_model::plain;
using rota_model::require;
using rota_model::unordered;

enum class slip { none, does_not_ask, does_not_look_again, lets_nobody_in };

// What thread_channel_core.hpp does with it, and nothing else of it: one place, taken to begin with.
template <slip Slip, int Givers>
struct channel : rl::test_suite<channel<Slip, Givers>, Givers + 1> {
  static constexpr const char* name = Slip == slip::none ? (Givers == 1 ? "stock: one sender" : "stock: two senders")
                                      : Slip == slip::does_not_ask        ? "stock: a sender does not ask"
                                      : Slip == slip::does_not_look_again ? "stock: a sender does not look again"
                                                                          : "stock: the receiver lets nobody in";
  void before() {
    stock = 1;
    inside.set(1);
    gate.filled(1);
  }
  void thread(unsigned id) {
    if (id == 0)
      receive();
    else
      give(id);
  }
  void after() {
    require(received == Givers + 1);
    require(gate.left() == 0);
    require(!gate.took_one(0));  // nobody wants room
  }

  void give(unsigned id) {
    lock.lock({});
    for (bool last_look = false;; last_look = true) {
      admit();
      if (waiting.get() == 0 && has_room()) {
        put();
        if (last_look) gate.have_room();
        return lock.unlock({});
      }
      if (last_look && (gate.is_wanted() || Slip == slip::does_not_ask)) break;  // else admit() has let others in
      if (Slip != slip::does_not_ask) gate.want_room();
      if (Slip == slip::does_not_look_again) break;
    }
    require(gate.is_wanted());  // the receiver asks nobody else
    waiting.set(waiting.get() + 1);
    waits[id].set(1);
    lock.unlock({});
    while (granted[id].get() == 0) rl::yield(1, {});
  }
  void receive() {
    while (received != Givers + 1) {
      if (stock != 0) {
        --stock;
        ++received;
        inside.add(-1);
        if (!gate.took_one(static_cast<std::size_t>(stock)) || Slip == slip::lets_nobody_in) {
          // It stops here until somebody who waits for room has got it.
          if (received == 1) wait_for_an_item();
          continue;
        }
        lock.lock({});
        admit();
        lock.unlock({});
        if (received == 1) wait_for_an_item();
        continue;
      }
      lock.lock({});
      stock = items.get();
      items.set(0);
      gate.filled(static_cast<std::size_t>(stock));
      admit();
      lock.unlock({});
      if (stock == 0) rl::yield(1, {});
    }
  }
  // Without the lock it would hear of nothing: so a lost sender is one that nobody lets in.
  void wait_for_an_item() {
    for (;;) {
      lock.lock({});
      const bool there = items.get() != 0;
      lock.unlock({});
      if (there) return;
      rl::yield(1, {});
    }
  }

  // Under the lock.
  void put() {
    require(inside.add(1) == 0);
    items.set(items.get() + 1);
  }
  bool has_room() { return items.get() + static_cast<int>(gate.left()) < 1; }
  void admit() {
    if (waiting.get() == 0) return;
    for (unsigned id = 1; id <= Givers; ++id) {
      if (waits[id].get() == 0) continue;
      if (!has_room()) return;
      put();
      waits[id].set(0);
      waiting.set(waiting.get() - 1);
      granted[id].set(1);
    }
    if (waiting.get() == 0) gate.have_room();
  }

  rota::detail::receiver_stock gate;
  rl::mutex lock;
  plain<int> items{0};
  plain<int> waiting{0};
  plain<int> waits[Givers + 1];
  unordered<int> granted[Givers + 1];
  unordered<int> inside;
  int stock = 0;     // the receiver's own
  int received = 0;  // likewise
};

}  // namespace

int main() {
  using rota_model::broken;
  using rota_model::checks;
  return rota_model::run(
      checks<channel<slip::none, 1>, channel<slip::none, 2>>(),
      broken<channel<slip::does_not_ask, 1>, channel<slip::does_not_look_again, 1>, channel<slip::lets_nobody_in, 1>>(),
      30'000, {"sync/receiver_stock.hpp"});
}
