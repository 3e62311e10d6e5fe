// add_reader and add_writer: a callback in each iteration in which a descriptor is ready.
//
// A watch polls a duplicate of the descriptor, which belongs to the loop. So the program may close its own at any time
// after remove_reader(), and a new file that gets the old number has nothing to do with the old watch. It is level-
// triggered because each iteration polls anew: what is ready completes in the same poll.
//
//   unarmed ──► in the reactor ──► in the ready queue ──► called ──► unarmed ...
//   (before_poll)   (operation)        (posted)
//
// A watch that is removed goes on to its next station and ends there.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <exception>
#include <source_location>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <rota/base/error.hpp>
#include <rota/base/sys.hpp>
#include <rota/base/unique_fd.hpp>
#include <rota/loop/calls.hpp>
#include <rota/reactor/operation.hpp>

namespace rota {

namespace detail {

/// Which file a descriptor refers to. No two open files are the same one unless they share what a watch looks at.
struct file_identity {
  explicit file_identity(int fd) noexcept {
    struct stat status{};
    is_open = sys::fstat(fd, &status) == 0;
    device = status.st_dev;
    node = status.st_ino;
  }
  bool operator==(const file_identity&) const noexcept = default;
  bool is_open;
  dev_t device;
  ino_t node;
};

struct fd_watch : repeated_call {
  fd_watch(std::source_location where, event_loop& on, int number, direction way, unique_fd copy) noexcept
      : repeated_call(where), op(opcode::poll, copy.get()), fd(number), file(number) {
    loop = &on;
    op.size = way == direction::in ? POLLIN : POLLOUT;
    op.waiter =
        reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(static_cast<posted*>(this)) | posted_waiter_tag);
    (void)copy.release();  // the reactor's
  }

  direction way() const noexcept { return op.way(); }
  /// Begins, behind what the loop has to do before its next poll.
  void unarmed() noexcept {
    run = &arm;
    loop_access::before_poll(*loop, *this);
  }
  /// Its owner has forgotten it.
  void remove() noexcept {
    event_loop& its = *loop;
    const int copy = op.fd;
    cancel();
    loop_access::kernel(its).close(copy);  // which ends the operation
  }

  operation op;
  int fd;  // the program's
  file_identity file;

 protected:
  ~fd_watch() = default;

 private:
  static void arm(posted& self) noexcept {
    auto& watch = static_cast<fd_watch&>(self);
    if (watch.is_cancelled()) return watch.end();
    watch.op.cancel_requested = false;
    watch.run = &completed;
    loop_access::submit(*watch.loop, watch.op);
  }
  static void completed(posted& self) noexcept {
    auto& watch = static_cast<fd_watch&>(self);
    if (watch.is_cancelled()) return watch.end();
    self.run = &perform;
    loop_access::push(*watch.loop, self);
  }
  static void perform(posted& self) noexcept;
  void end() noexcept {
    loop_access::unreserve(*loop);
    destroy();
  }
};

/// The watches of a loop, by descriptor and direction.
class fd_watches final : public loop_part {
 public:
  ~fd_watches() override {
    for (fd_watch*& slot : slots_) take(slot);
  }

  template <class F>
  static void add(event_loop& loop, call_number fd, direction way, F&& f) {
    loop_access::check_caller(loop);
    loop_access::check_open(loop);
    reactor& kernel = loop_access::kernel(loop);
    kernel.check_not_forked();
    if (!kernel.is_closed(fd.value))
      throw usage_error(usage_error::kind::invalid_argument,
                        "a callback cannot watch a descriptor that a stream or listener of this loop owns");
    unique_fd copy(sys::fcntl(fd.value, F_DUPFD_CLOEXEC, 0));
    if (!copy) throw_errno(-copy.get(), "watching a descriptor");
    owned<loop_part>& part = loop_access::fd_watches_of(loop);
    if (!part) part = owned<fd_watches>(new fd_watches);
    fd_watch*& slot = static_cast<fd_watches&>(*part).slot_of(fd.value, way);
    loop_access::reserve(loop);
    try {
      const int number = copy.get();
      kernel.adopt(number);
      fd_watch* made = nullptr;
      try {
        made = &make_call<fd_watch>(std::forward<F>(f), fd.where, loop, fd.value, way, std::move(copy));
      } catch (...) {
        (void)copy.release();
        kernel.close(number);
        throw;
      }
      fd_watch* const replaced = std::exchange(slot, made);
      made->unarmed();
      if (replaced) replaced->remove();
    } catch (...) {
      loop_access::unreserve(loop);
      throw;
    }
  }
  static bool remove(event_loop& loop, int fd, direction way) {
    loop_access::check_caller(loop);
    const owned<loop_part>& part = loop_access::fd_watches_of(loop);
    if (!part) return false;
    auto& watches = static_cast<fd_watches&>(*part);
    return watches.is_known(fd) && take(watches.slot_of(fd, way));
  }

 private:
  static std::size_t index(int fd, direction way) noexcept {
    return static_cast<std::size_t>(fd) * 2 + static_cast<std::size_t>(way);
  }
  bool is_known(int fd) const noexcept { return fd >= 0 && index(fd, direction::out) < slots_.size(); }
  fd_watch*& slot_of(int fd, direction way) {
    if (!is_known(fd)) slots_.resize(index(fd, direction::out) + 1);
    return slots_[index(fd, way)];
  }
  static bool take(fd_watch*& slot) noexcept {
    fd_watch* watch = std::exchange(slot, nullptr);
    if (watch) watch->remove();
    return watch != nullptr;
  }

  std::vector<fd_watch*> slots_;
};

inline void fd_watch::perform(posted& self) noexcept {
  auto& watch = static_cast<fd_watch&>(self);
  event_loop& loop = *watch.loop;
  loop_access::poll_next(loop);
  std::error_code error;
  if (watch.op.result < 0)
    error = error_of(watch.op.result);
  else if (!watch.is_cancelled() && !(file_identity(watch.fd) == watch.file))
    error = std::error_code(EBADF, std::generic_category());  // nobody would notice, and it would spin
  if (error && !watch.is_cancelled()) {
    description text;
    text.add("the watch of descriptor %d, made at %s:%u, ended: the descriptor was closed first, or cannot be watched",
             watch.fd, watch.made_at.file_name(), static_cast<unsigned>(watch.made_at.line()));
    loop_access::report_error(&loop, std::make_exception_ptr(std::system_error(error)), text, nullptr, watch.made_at);
    if (!watch.is_cancelled()) fd_watches::remove(loop, watch.fd, watch.way());
  }
  if (!watch.is_cancelled() && !loop_access::is_shut_down(loop)) watch.call_on(loop);
  if (watch.is_cancelled())
    watch.end();
  else
    watch.unarmed();
}

}  // namespace detail

template <class F, class... Args>
void callback_layer::add_reader(detail::call_number fd, F&& f, Args&&... args) {
  detail::fd_watches::add(self(), fd, detail::direction::in,
                          detail::bind_often(std::forward<F>(f), std::forward<Args>(args)...));
}
template <class F, class... Args>
void callback_layer::add_writer(detail::call_number fd, F&& f, Args&&... args) {
  detail::fd_watches::add(self(), fd, detail::direction::out,
                          detail::bind_often(std::forward<F>(f), std::forward<Args>(args)...));
}
inline bool callback_layer::remove_reader(int fd) {
  return detail::fd_watches::remove(self(), fd, detail::direction::in);
}
inline bool callback_layer::remove_writer(int fd) {
  return detail::fd_watches::remove(self(), fd, detail::direction::out);
}

}  // namespace rota
