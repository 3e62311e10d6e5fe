// What every stream of bytes can do: read and write some, write all, close.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <type_traits>
#include <utility>

#include <rota/io/buffer.hpp>
#include <rota/io/descriptor_owner.hpp>
#include <rota/loop/await_operation.hpp>

namespace rota::detail {

/// Several buffers in one call; owns the list of them, so that the caller's list need not live on.
class [[nodiscard(ROTA_UNAWAITED)]] vector_awaiter : public operation_awaiter {
 public:
  static constexpr std::size_t most_buffers = 16;

  template <class Byte>
  vector_awaiter(opcode code, event_loop* loop, int fd, std::span<const std::span<Byte>> buffers) noexcept
      : operation_awaiter(code, loop, fd) {
    std::size_t n = 0;
    std::size_t size = 0;
    for (; n != buffers.size() && n != most_buffers; ++n) {
      vectors_[n].iov_base = const_cast<std::byte*>(buffers[n].data());
      size += vectors_[n].iov_len = buffers[n].size();
    }
    if (size == 0 && reads(code)) [[unlikely]]
      op_.result = no_room;
    message_.msg_iov = vectors_.data();
    message_.msg_iovlen = n;
    op_.message = &message_;
  }
  std::size_t await_resume() {
    return static_cast<std::size_t>(result_or_throw(op_.way() == direction::in ? "read" : "write"));
  }

 private:
  msghdr message_{};
  std::array<iovec, most_buffers> vectors_;
};

}  // namespace rota::detail

namespace rota {

namespace detail {

class nothing;  // a list of these is what {} is

/// What every stream can do, whichever calls move its bytes. One task may read while another writes; a second reader (or
/// writer) gets std::system_error with errc::busy at once. An operation on a closed or moved-from stream throws
/// errc::closed. Streams belong to the loop on which they were made, and throw usage_error elsewhere.
///
/// Buffers belong to the caller and must stay alive until the operation has completed, which is before the await
/// ends, in every case. When the scope is cancelled, a transfer that happened all the same is reported (rule R2);
/// otherwise nothing was transferred and rota::cancelled is thrown.
template <opcode Read, opcode Write>
class stream_by {
 public:
  /// Waits until there is something and reads at most buffer.size() bytes of it; 0 is the end of the stream. An
  /// empty buffer is a usage_error.
  transfer_awaiter read_some(mutable_buffer buffer) noexcept {
    return {Read, fd_.loop(), fd_.get(), buffer.data(), buffer.size()};
  }
  /// Waits until there is room and writes at least one byte; returns how many. A peer that has gone is
  /// std::errc::broken_pipe or connection_reset.
  transfer_awaiter write_some(const_buffer buffer) noexcept {
    return {Write, fd_.loop(), fd_.get(), const_cast<std::byte*>(buffer.data()), buffer.size()};
  }
  /// Writes everything and returns its size; above 2 GiB nothing (std::errc::message_size). After an exception,
  /// rota::cancelled included, an unknown part has been written: the stream is good for closing only.
  transfer_awaiter write_all(const_buffer buffer) noexcept {
    return {Write, fd_.loop(), fd_.get(), const_cast<std::byte*>(buffer.data()), buffer.size(), true};
  }

  // Say in one line what is taken instead.
  template <class B>
    requires(!std::is_convertible_v<B, mutable_buffer> && !std::is_convertible_v<B, std::span<const mutable_buffer>>)
  transfer_awaiter read_some(B&&) {
    static_assert(!std::is_same_v<B, B>,
                  "read_some() fills bytes, a std::span<std::byte>: give it a std::array<std::byte, N>, or chars as "
                  "std::as_writable_bytes(std::span(chars))");
    return read_some(mutable_buffer());
  }
  template <class Never = void>
  transfer_awaiter read_some(std::initializer_list<nothing>) {
    static_assert(!std::is_void_v<Never>,
                  "read_some({}) would have no room for anything: give it a std::array<std::byte, N>, which has");
    return read_some(mutable_buffer());
  }
  template <class Never = void>
  transfer_awaiter write_some(std::initializer_list<nothing>) {
    static_assert(!std::is_void_v<Never>, "write_some({}) would have nothing to write");
    return write_some(const_buffer());
  }
  template <class B>
    requires(!std::is_convertible_v<B, const_buffer> && !std::is_convertible_v<B, std::span<const const_buffer>>)
  transfer_awaiter write_some(B&& data) {
    return write_all(static_cast<B&&>(data));
  }
  template <class B>
    requires(!std::is_convertible_v<B, const_buffer>)
  transfer_awaiter write_all(B&&) {
    static_assert(!std::is_same_v<B, B>,
                  "what is written is bytes, a std::span<const std::byte>: write rota::as_bytes(text) for text, "
                  "std::as_bytes(std::span(values)) for numbers");
    return write_all(const_buffer());
  }

  /// Ends what is in flight on the stream (it throws errc::closed), waits for that, and closes. A cancelled scope
  /// does not interrupt it. Closing a closed stream does nothing.
  close_awaiter close() { return fd_.close(); }

  bool is_open() const noexcept { return fd_.is_open(); }
  /// For setsockopt and the like. The stream keeps it.
  int native_handle() const noexcept { return fd_.get(); }

 protected:
  stream_by() noexcept = default;
  explicit stream_by(descriptor_owner fd) noexcept : fd_(std::move(fd)) {}
  stream_by(stream_by&&) noexcept = default;
  stream_by& operator=(stream_by&&) noexcept = default;
  ~stream_by() = default;

  descriptor_owner fd_;
};

}  // namespace detail

/// The common part of tcp_stream and its relatives, streams of sockets. Writing never raises SIGPIPE.
class byte_stream : public detail::stream_by<detail::opcode::recv, detail::opcode::send> {
 public:
  using stream_by::read_some;
  using stream_by::write_some;
  /// Scatter and gather: the first 16 buffers, in order; what read_some and write_some promise.
  detail::vector_awaiter read_some(std::span<const mutable_buffer> buffers) noexcept {
    return {detail::opcode::recvmsg, fd_.loop(), fd_.get(), buffers};
  }
  detail::vector_awaiter write_some(std::span<const const_buffer> buffers) noexcept {
    return {detail::opcode::sendmsg, fd_.loop(), fd_.get(), buffers};
  }

 protected:
  using stream_by::stream_by;
};

}  // namespace rota
