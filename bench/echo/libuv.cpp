// Measures an echo server written with libuv: uv_read_start into one shared buffer, uv_try_write for the reply.
//
// A reply leaves before the next request is read, so one buffer is enough; uv_write with a copy is only
// for what uv_try_write could not send.
#include <array>
#include <cstring>
#include <memory>

#include <uv.h>

#include "server.hpp"

namespace {

std::array<char, echo::buffer_size> shared_buffer;

void check(int error, const char* what) {
  if (error >= 0) return;
  std::fprintf(stderr, "%s: %s\n", what, uv_strerror(error));
  std::exit(1);
}

void drop(uv_stream_t* peer) {
  auto* const handle = reinterpret_cast<uv_handle_t*>(peer);
  if (uv_is_closing(handle)) return;
  uv_close(handle, [](uv_handle_t* closed) { delete reinterpret_cast<uv_tcp_t*>(closed); });
}

struct copied_write {
  uv_write_t request;
  std::unique_ptr<char[]> bytes;
};

void write_copy(uv_stream_t* peer, const char* data, std::size_t size) {
  auto* const write = new copied_write{};
  write->bytes = std::make_unique<char[]>(size);
  std::memcpy(write->bytes.get(), data, size);
  write->request.data = write;
  const uv_buf_t rest = uv_buf_init(write->bytes.get(), static_cast<unsigned>(size));
  const int error = uv_write(&write->request, peer, &rest, 1, [](uv_write_t* request, int status) {
    if (status < 0) drop(request->handle);
    delete static_cast<copied_write*>(request->data);
  });
  if (error < 0) {
    delete write;
    drop(peer);
  }
}

void lend_buffer(uv_handle_t*, std::size_t, uv_buf_t* buffer) {
  *buffer = uv_buf_init(shared_buffer.data(), static_cast<unsigned>(shared_buffer.size()));
}

void reply(uv_stream_t* peer, ssize_t received, const uv_buf_t*) {
  if (received < 0) return drop(peer);
  if (received == 0) return;  // nothing to read after all
  const uv_buf_t answer = uv_buf_init(shared_buffer.data(), static_cast<unsigned>(received));
  int sent = uv_try_write(peer, &answer, 1);
  if (sent == received) return;
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) return drop(peer);
  write_copy(peer, shared_buffer.data() + sent, static_cast<std::size_t>(received - sent));
}

void accept_one(uv_stream_t* listener, int status) {
  check(status, "listen");
  auto* const peer = new uv_tcp_t;
  check(uv_tcp_init(listener->loop, peer), "uv_tcp_init");
  auto* const stream = reinterpret_cast<uv_stream_t*>(peer);
  if (uv_accept(listener, stream) < 0) return drop(stream);
  uv_tcp_nodelay(peer, 1);
  check(uv_read_start(stream, lend_buffer, reply), "uv_read_start");
}

}  // namespace

int main(int argc, char** argv) {
  const echo::options options = echo::parse(argc, argv);
  echo::raise_descriptor_limit();
  uv_loop_t* const loop = uv_default_loop();
  uv_tcp_t listener;
  check(uv_tcp_init(loop, &listener), "uv_tcp_init");
  sockaddr_in address{};
  check(uv_ip4_addr("127.0.0.1", options.port, &address), "uv_ip4_addr");
  check(uv_tcp_bind(&listener, reinterpret_cast<sockaddr*>(&address), 0), "uv_tcp_bind");
  check(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), echo::backlog, accept_one), "uv_listen");
  int size = sizeof address;
  check(uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&address), &size), "uv_tcp_getsockname");
  echo::announce(ntohs(address.sin_port));
  uv_run(loop, UV_RUN_DEFAULT);
}
