// Shows children that spawn into the group they are in, on a pool: each state of a puzzle is a task, found states spawn the next.
// Run: ./group_from_below [--threads N]: how many boards of the 8-puzzle are at most 4 moves away from the goal
#include <rota/rota.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace {

// Boards that were seen, for tasks of several threads.
struct seen_boards {
  bool add(const std::string& board) {
    const std::lock_guard guard(mutex);
    return boards.insert(board).second;
  }
  std::mutex mutex;
  std::set<std::string> boards;
};

// [explore]
// The group outlives its children, so they may spawn into it; each ends as soon as it has looked at its board.
rota::task<> explore(rota::task_group& group, seen_boards& seen, std::string board, int moves_left) {
  if (moves_left == 0) co_return;
  const std::size_t hole = board.find(' ');
  const std::size_t row = hole / 3, column = hole % 3;
  const auto move_from = [&](std::size_t tile) {
    std::string next = board;
    std::swap(next[hole], next[tile]);
    if (seen.add(next)) group.spawn(explore, std::ref(group), std::ref(seen), next, moves_left - 1);
  };
  if (row > 0) move_from(hole - 3);
  if (row < 2) move_from(hole + 3);
  if (column > 0) move_from(hole - 1);
  if (column < 2) move_from(hole + 1);
}

rota::task<std::size_t> count_boards(int moves) {
  seen_boards seen;
  const std::string goal = "12345678 ";
  seen.add(goal);
  const auto body = [&](rota::task_group& group) -> rota::task<> {
    group.spawn(explore, std::ref(group), std::ref(seen), goal, moves);
    co_return;
  };
  co_await rota::with_task_group(body);  // leaves when the last board has been looked at
  co_return seen.boards.size();
}
// [/explore]

}  // namespace

int main(int argc, char** argv) {
  const unsigned threads =
      argc > 2 && std::string_view(argv[1]) == "--threads" ? static_cast<unsigned>(std::atoi(argv[2])) : 0;
  rota::thread_pool pool(threads);
  const std::size_t boards = rota::sync_wait(pool.run(count_boards, 4));
  std::printf("%zu boards are at most 4 moves away from the goal\n", boards);
}
