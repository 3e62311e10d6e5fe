// What the ring may answer besides success. The functions of liburing that enter the kernel are defined here once more,
// so that a test can make them fail and change what is submitted and completed; otherwise they call the real ones.
#include <rota/base/config.hpp>

#if !ROTA_HAS_LIBURING
#include "support/catch.hpp"
TEST_CASE("the io_uring backend was left out of this build") { SUCCEED(); }
#else

#include <rota/reactor/io_uring/io_uring_reactor.hpp>

#include <dlfcn.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "support/plain_operations.hpp"
#include "support/rota_test.hpp"

using namespace rota_test;
using rota::detail::io_uring_reactor;

namespace {

struct ring_faults {
  std::deque<int> init, submit, wait;  // errors of the next calls; 0 lets one through
  unsigned unknown_flags = 0;          // io_uring_setup does not know these
  unsigned missing_features = 0;
  std::size_t most = SIZE_MAX;           // bytes that a send or write moves
  bool drop_waitall = false;             // a kernel before 5.19
  std::map<std::uint64_t, int> results;  // what completions say instead, by user_data
  io_uring* ring = nullptr;              // the one that was used last
  std::deque<unsigned> sizes;            // of the rings that were asked for
};
ring_faults faults;

// A kernel without faults at both ends of its block, and as many descriptors at the one as at the other.
struct clean_ring {
  clean_ring() { faults = ring_faults(); }
  ~clean_ring() { faults = ring_faults(); }
  clean_ring(const clean_ring&) = delete;
  clean_ring& operator=(const clean_ring&) = delete;
  descriptor_balance nothing_left;
};

std::optional<int> next_error(std::deque<int>& errors) {
  if (errors.empty()) return std::nullopt;
  const int error = errors.front();
  errors.pop_front();
  if (error == 0) return std::nullopt;
  return -error;
}

template <class F>
F* real(F*, const char* name) {
  void* const found = ::dlsym(RTLD_NEXT, name);
  if (!found) std::abort();
  return reinterpret_cast<F*>(found);
}
#define REAL(name) real(&name, #name)

void before(io_uring* ring) {
  faults.ring = ring;
  if (faults.most == SIZE_MAX) return;
  for (unsigned i = ring->sq.sqe_head; i != ring->sq.sqe_tail; ++i) {
    io_uring_sqe& entry = ring->sq.sqes[i & *ring->sq.kring_mask];
    if (entry.opcode != IORING_OP_SEND && entry.opcode != IORING_OP_WRITE) continue;
    entry.len = static_cast<unsigned>(std::min<std::size_t>(entry.len, faults.most));
    if (faults.drop_waitall) entry.msg_flags &= ~static_cast<unsigned>(MSG_WAITALL);
  }
}
int after(io_uring* ring, int result) {
  io_uring_cqe* completion = nullptr;
  unsigned head = 0;
  io_uring_for_each_cqe(ring, head, completion) {
    const auto found = faults.results.find(completion->user_data);
    if (found == faults.results.end()) continue;
    completion->res = found->second;
    faults.results.erase(found);
  }
  return result;
}

/// Makes the kernel give the operation up without having done it, and the completion say `result`.
void give_up(const request& op, int result) {
  const std::uint64_t key = reinterpret_cast<std::uintptr_t>(&op) | (std::uint64_t{op.generation} << 48);
  REQUIRE(faults.ring != nullptr);
  faults.results[key] = result;
  io_uring_sqe* const entry = io_uring_get_sqe(faults.ring);
  REQUIRE(entry != nullptr);
  io_uring_prep_cancel64(entry, key, 0);
  io_uring_sqe_set_data64(entry, 0);
}

bool ring_works() { return reactor_kinds().size() > 1; }
#define NEEDS_A_RING \
  if (!ring_works()) SKIP("io_uring is not available here")

struct events {
  std::vector<int> fds;
  std::vector<std::uint64_t> values;
  std::deque<request> reads;

  events(reactor& r, std::size_t n) : values(n) {
    for (std::size_t i = 0; i != n; ++i) fds.push_back(adopt(r, rota::unique_fd(::eventfd(0, EFD_CLOEXEC))));
  }
  void submit_reads(reactor& r) {
    for (std::size_t i = 0; i != fds.size(); ++i)
      submit(r, reads.emplace_back(opcode::read, fds[i], &values[i], sizeof values[i]));
  }
  void make_ready() const {
    const std::uint64_t one = 1;
    for (const int fd : fds) REQUIRE(::write(fd, &one, sizeof one) == sizeof one);
  }
  void close(reactor& r) const {
    for (const int fd : fds) r.close(fd);
  }
};

void check_that_it_works(reactor& r) {
  connected c = connect_pair(r);
  std::string buffer(8, '.'), text = "answer";
  request reading(opcode::recv, c.mine, buffer);
  submit_waiting(r, reading);
  write_text(c.theirs.get(), "bytes");
  wait_for(r, reading);
  CHECK(reading.result == 5);
  request writing(opcode::send, c.mine, text);
  writing.all = true;
  CHECK(perform(r, writing) == 6);
  const nanoseconds deadline = now() + 200'000;
  while (now() < deadline) collect(r, deadline);
  r.wake();
  collect(r, rota::detail::never);
  request cancelled(opcode::recv, c.mine, buffer);
  submit(r, cancelled);
  r.cancel(cancelled);
  wait_for(r, cancelled);
  CHECK(cancelled.result == -ECANCELED);
  r.close(c.mine);
}

}  // namespace

extern "C" int io_uring_queue_init_params(unsigned entries, io_uring* ring, io_uring_params* parameters) {
  faults.sizes.push_back(entries);
  if (const auto error = next_error(faults.init)) return *error;
  if ((parameters->flags & faults.unknown_flags) != 0) return -EINVAL;
  const int result = REAL(io_uring_queue_init_params)(entries, ring, parameters);
  if (result == 0) ring->features &= ~faults.missing_features;
  return result;
}
extern "C" int io_uring_submit(io_uring* ring) {
  if (const auto error = next_error(faults.submit)) return *error;
  before(ring);
  return after(ring, REAL(io_uring_submit)(ring));
}
extern "C" int io_uring_submit_and_wait(io_uring* ring, unsigned n) {
  if (const auto error = next_error(faults.wait)) return *error;
  before(ring);
  return after(ring, REAL(io_uring_submit_and_wait)(ring, n));
}
extern "C" int io_uring_submit_and_get_events(io_uring* ring) {
  if (const auto error = next_error(faults.wait)) return *error;
  before(ring);
  return after(ring, REAL(io_uring_submit_and_get_events)(ring));
}
extern "C" int io_uring_submit_and_wait_timeout(io_uring* ring, io_uring_cqe** first, unsigned n,
                                                __kernel_timespec* timeout, sigset_t* mask) {
  if (const auto error = next_error(faults.wait)) return *error;
  before(ring);
  return after(ring, REAL(io_uring_submit_and_wait_timeout)(ring, first, n, timeout, mask));
}

// ---- making a ring

TEST_CASE("a kernel that does not know the newest flags gets a ring without them") {
  NEEDS_A_RING;
  for (const unsigned unknown :
       {0u, unsigned{IORING_SETUP_DEFER_TASKRUN}, unsigned{IORING_SETUP_SINGLE_ISSUER},
        unsigned{IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN}, unsigned{IORING_SETUP_SUBMIT_ALL}}) {
    INFO("unknown flags " << unknown);
    const clean_ring clean;
    faults.unknown_flags = unknown;
    io_uring_reactor r;
    CHECK(faults.sizes.size() == (unknown == 0                                                             ? 1u
                                  : (unknown & (IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL)) != 0 ? 3u
                                                                                                           : 2u));
    check_that_it_works(r);
  }
}

TEST_CASE("a ring that gets no memory is tried smaller") {
  NEEDS_A_RING;
  const clean_ring clean;
  faults.init = {ENOMEM, ENOMEM, ENOMEM};
  io_uring_reactor r;
  CHECK(faults.sizes == std::deque<unsigned>{1024, 512, 256, 128});
  check_that_it_works(r);
}

TEST_CASE("a ring that cannot be made is a clear error and leaves nothing behind") {
  NEEDS_A_RING;
  for (const int error : {ENOMEM, ENOSYS, EPERM, EINVAL, EMFILE}) {
    const clean_ring clean;
    faults.init.assign(100, error);
    const std::error_code code = error_code_of([] { return io_uring_reactor().kind(); });
    CHECK(code == std::error_code(error, std::generic_category()));
    CHECK(faults.sizes.size() < 10);
  }
}

TEST_CASE("a kernel that lacks what we need is EINVAL, which means epoll") {
  NEEDS_A_RING;
  for (const unsigned feature : {unsigned{IORING_FEAT_EXT_ARG}, unsigned{IORING_FEAT_NODROP}}) {
    const clean_ring clean;
    faults.missing_features = feature;
    const std::error_code code = error_code_of([] { return io_uring_reactor().kind(); });
    CHECK(code == std::errc::invalid_argument);
  }
}

// ---- no room for a request

TEST_CASE("operations that find no room are submitted later") {
  NEEDS_A_RING;
  for (const int error : {EBUSY, EAGAIN}) {
    const clean_ring clean;
    io_uring_reactor r(16);
    settle(r);
    events e(r, 100);
    faults.submit.assign(1'000, error);
    e.submit_reads(r);
    REQUIRE(r.in_flight() == 100);
    faults.submit = {0, error, error, 0, error};  // it comes and goes
    settle(r);
    e.make_ready();
    wait_until(r, [&] { return r.in_flight() == 0; });
    for (const request& op : e.reads) {
      REQUIRE(op.completions == 1);
      REQUIRE(op.result == 8);
    }
    e.close(r);
  }
}

TEST_CASE("operations that found no room can be cancelled before the kernel has seen them") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r(16);
  settle(r);
  events e(r, 100);
  faults.submit.assign(1'000, EBUSY);
  e.submit_reads(r);
  for (request& op : e.reads) r.cancel(op);
  faults.submit.clear();
  wait_until(r, [&] { return r.in_flight() == 0; });
  settle(r);
  for (const request& op : e.reads) {
    REQUIRE(op.completions == 1);
    REQUIRE(op.result == -ECANCELED);
  }
  e.close(r);
}

TEST_CASE("cancels that find no room are made up for") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r(16);
  events e(r, 100);
  e.submit_reads(r);
  settle(r);
  faults.submit.assign(1'000, EBUSY);
  for (request& op : e.reads) r.cancel(op);
  collect(r);
  collect(r);
  faults.submit.clear();
  wait_until(r, [&] { return r.in_flight() == 0; });
  settle(r);
  for (const request& op : e.reads) {
    REQUIRE(op.completions == 1);
    REQUIRE(op.result == -ECANCELED);
  }
  e.close(r);
}

TEST_CASE("descriptors with operations that found no room can be closed") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r(16);
  settle(r);
  events e(r, 100);
  faults.submit.assign(1'000, EBUSY);
  e.submit_reads(r);
  e.close(r);
  faults.submit.clear();
  wait_until(r, [&] { return r.descriptors() == 0; });
  for (const request& op : e.reads) {
    REQUIRE(op.completions == 1);
    REQUIRE(op.result == -EBADF);
  }
}

TEST_CASE("a ring that is destroyed while its wake-up finds no room") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r(16);
  settle(r);
  faults.submit.assign(10, EBUSY);
}

// ---- waiting

TEST_CASE("a wake-up ends a wait whatever kind of ring the kernel gave") {
  NEEDS_A_RING;
  for (const unsigned unknown : {0u, unsigned{IORING_SETUP_DEFER_TASKRUN}, unsigned{IORING_SETUP_SUBMIT_ALL}}) {
    INFO("unknown flags " << unknown);
    const clean_ring clean;
    faults.unknown_flags = unknown;
    io_uring_reactor r;
    for (int round = 0; round != 100; ++round) {
      settle(r);  // it listens for wake-ups
      r.wake();   // without DEFER_TASKRUN the completion is there before the wait begins
      collect(r, rota::detail::never);
    }
  }
}

TEST_CASE("a wait does not begin while there is no room to listen for wake-ups") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r(16);
  events e(r, 16);
  e.submit_reads(r);  // the queue is full
  faults.submit = {EAGAIN};
  r.wake();
  collect(r, rota::detail::never);
  collect(r, rota::detail::never);
  e.close(r);
  wait_until(r, [&] { return r.descriptors() == 0; });
}

TEST_CASE("a wait that ends early for a harmless reason is no error and loses nothing") {
  NEEDS_A_RING;
  for (const int error : {EINTR, EBUSY, EAGAIN, ETIME}) {
    const clean_ring clean;
    io_uring_reactor r;
    connected_reader c(r);
    submit(r, c.op);
    faults.wait.assign(5, error);
    for (const nanoseconds deadline : {nanoseconds{0}, rota::detail::never, now() + milliseconds(60'000)})
      CHECK(collect(r, deadline) == 0);
    write_text(c.theirs.get(), "x");
    wait_for(r, c.op);
    CHECK(c.op.result == 1);
  }
}

TEST_CASE("a wait that fails for good is an exception, and the operations stay") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r;
  connected_reader c(r);
  submit(r, c.op);
  faults.wait = {EBADR};
  const std::error_code code = error_code_of([&] { return collect(r); });
  CHECK(code == std::error_code(EBADR, std::generic_category()));
  write_text(c.theirs.get(), "x");
  wait_for(r, c.op);
  CHECK(c.op.result == 1);
}

// ---- completions

TEST_CASE("an operation that the kernel gave up unasked is submitted again") {
  NEEDS_A_RING;
  // EAGAIN: a descriptor with O_NONBLOCK, or a spurious one; ECANCELED: the thread that submitted it has ended.
  for (const int result : {-EAGAIN, -EINTR, -ECANCELED}) {
    INFO("the completion says " << result);
    const clean_ring clean;
    io_uring_reactor r;
    connected c = connect_pair(r);
    std::string buffer(8, '.');
    request op(opcode::recv, c.mine, buffer);
    submit(r, op);
    settle(r);
    for (int i = 0; i != 3; ++i) {
      give_up(op, result);
      settle(r);
      REQUIRE(faults.results.empty());
      REQUIRE_FALSE(op.done());
    }
    write_text(c.theirs.get(), "bytes");
    wait_for(r, op);
    CHECK(op.result == 5);
    CHECK(op.completions == 1);

    request cancelled(opcode::recv, c.mine, buffer);
    submit(r, cancelled);
    settle(r);
    give_up(cancelled, result);
    settle(r);
    r.cancel(cancelled);
    wait_for(r, cancelled);
    CHECK(cancelled.result == -ECANCELED);

    request closed(opcode::recv, c.mine, buffer);
    submit(r, closed);
    settle(r);
    give_up(closed, result);
    r.close(c.mine);
    wait_until(r, [&] { return r.is_closed(c.mine); });
    CHECK(closed.result == -EBADF);
    CHECK(closed.completions == 1);
  }
}

TEST_CASE("an accept whose connection died is tried again; other errors are its result") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r;
  rota::address at("127.0.0.1", 0);
  const int listener = adopt(r, make_listener(at));
  request op(opcode::accept, listener);
  submit(r, op);
  settle(r);
  for (const int error : {ECONNABORTED, EPROTO, EAGAIN, ECANCELED}) {
    INFO("error " << error);
    give_up(op, -error);
    settle(r);
    REQUIRE_FALSE(op.done());
  }
  const rota::unique_fd client = connect_to(at);
  wait_for(r, op);
  const rota::unique_fd accepted(op.result);
  CHECK(accepted);
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    request refused(opcode::accept, listener);
    submit(r, refused);
    settle(r);
    give_up(refused, -error);
    wait_for(r, refused);
    CHECK(refused.result == -error);
  }
  request cancelled(opcode::accept, listener);
  submit(r, cancelled);
  settle(r);
  give_up(cancelled, -ECONNABORTED);
  r.cancel(cancelled);
  wait_for(r, cancelled);
  CHECK(cancelled.result == -ECANCELED);
  r.close(listener);
}

TEST_CASE("everything is written however little the kernel takes at a time") {
  NEEDS_A_RING;
  for (const std::size_t most : {std::size_t{1}, std::size_t{500}, std::size_t{999}}) {
    INFO("at most " << most << " bytes");
    const clean_ring clean;
    io_uring_reactor r;
    connected c = connect_pair(r, make_tcp_pair());
    std::string text(1'000, '\0'), received(1'000, '.');
    for (std::size_t i = 0; i != text.size(); ++i) text[i] = static_cast<char>(i);
    faults.most = most;
    faults.drop_waitall = true;
    for (const opcode code : {opcode::send, opcode::write}) {
      request all(code, c.mine, text);
      all.all = true;
      CHECK(perform(r, all) == 1'000);
      REQUIRE(::recv(c.theirs.get(), received.data(), 1'000, MSG_WAITALL) == 1'000);
      CHECK(received == text);
      request some(code, c.mine, text);
      CHECK(perform(r, some) == static_cast<int>(most));
      REQUIRE(::recv(c.theirs.get(), received.data(), most, MSG_WAITALL) == static_cast<ssize_t>(most));
    }
    r.close(c.mine);
  }
}

TEST_CASE("a write of everything that is cancelled between two parts ends once, as cancelled") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r;
  connected c = connect_pair(r, make_tcp_pair());
  std::string text(1'000, 'x');
  faults.most = 1;
  faults.drop_waitall = true;
  request op(opcode::send, c.mine, text);
  op.all = true;
  submit(r, op);
  for (int i = 0; i != 10; ++i) collect(r);
  REQUIRE_FALSE(op.done());
  r.cancel(op);
  wait_for(r, op);
  settle(r);
  CHECK(op.result == -ECANCELED);
  CHECK(op.completions == 1);
  CHECK(op.transferred < 1'000);
  r.close(c.mine);
}

TEST_CASE("an error after a part was written is the result") {
  NEEDS_A_RING;
  const clean_ring clean;
  io_uring_reactor r;
  connected c = connect_pair(r);
  std::string text(1'000, 'x');
  faults.most = 10;
  faults.drop_waitall = true;
  request op(opcode::send, c.mine, text);
  op.all = true;
  submit(r, op);
  for (int i = 0; i != 5; ++i) collect(r);
  REQUIRE_FALSE(op.done());
  c.theirs.reset();
  wait_for(r, op);
  CHECK((op.result == -EPIPE || op.result == -ECONNRESET));
  r.close(c.mine);
}

#endif
