// Shows: an HTTP/1.1 file server; parsing by llhttp, pipelining, ranges, time limits, back-pressure, graceful stop.
// Run:   build/release/examples/http_file_server --port 8080 --root .        then: curl http://127.0.0.1:8080/README.md
//
// A connection is one task, session(): read a head, answer(), send(), again. Only these three words await; parsing
// and looking for files are ordinary functions above them.

#include <fcntl.h>
#include <linux/openat2.h>
#include <llhttp.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rota/rota.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <iostream>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/arguments.hpp"

using namespace std::chrono_literals;

namespace {

constexpr std::size_t head_limit = 16 * 1024;   // bytes of a request's line and fields
constexpr std::size_t target_limit = 4 * 1024;  // bytes of the target in it
constexpr std::size_t block_size = 128 * 1024;  // what is read from a file and written to the peer at a time
constexpr auto idle_limit = 60s;                // between requests
constexpr auto head_time_limit = 30s;           // from a request's first byte to its last
constexpr auto write_limit = 30s;               // for one block: a peer that takes nothing is not waited for
constexpr auto linger_limit = 1s;               // for a refused peer to read why

// ---- requests: what llhttp finds in the bytes ----------------------------------------------------------------------

struct request {
  std::uint8_t method = 0;
  bool keep_alive = false;
  int hosts = 0;
  std::string target;
  std::string range, if_range, if_modified_since;
};

class request_parser {
 public:
  request_parser() {
    llhttp_init(&parser_, HTTP_REQUEST, &settings());
    parser_.data = this;
  }
  request_parser(const request_parser&) = delete;
  request_parser& operator=(const request_parser&) = delete;

  enum class state { incomplete, complete, refused };

  /// Takes bytes from the front of `input`, up to the end of the request: what follows belongs to the next one.
  state parse(rota::const_buffer& input) {
    if (done_) begin_next();
    if (input.empty()) return state::incomplete;
    const std::string_view bytes = rota::as_text(input);
    const llhttp_errno_t error = llhttp_execute(&parser_, bytes.data(), bytes.size());
    done_ = error == HPE_PAUSED;
    const std::size_t used =
        done_ ? static_cast<std::size_t>(llhttp_get_error_pos(&parser_) - bytes.data()) : bytes.size();
    input = input.subspan(used);
    size_ += used;
    if (size_ > head_limit) refuse(HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE);
    if (error == HPE_INVALID_VERSION || (done_ && parser_.http_major != 1))
      refuse(HTTP_STATUS_HTTP_VERSION_NOT_SUPPORTED);
    if (error != HPE_OK && !done_) refuse(HTTP_STATUS_BAD_REQUEST);
    if (refused_with_ != 0) return state::refused;
    if (!done_) return state::incomplete;
    request_.method = parser_.method;
    request_.keep_alive = llhttp_should_keep_alive(&parser_) != 0;
    if (parser_.http_minor >= 1 && request_.hosts != 1) refuse(HTTP_STATUS_BAD_REQUEST);
    return refused_with_ != 0 ? state::refused : state::complete;
  }

  /// A part of a request has been seen, but not all of it.
  bool has_begun() const { return !done_ && size_ != 0; }
  /// The request that is complete, until the next parse().
  const request& current() const { return request_; }
  /// The status that says why it was refused.
  int refused_with() const { return refused_with_; }

 private:
  static request_parser& self(llhttp_t* parser) { return *static_cast<request_parser*>(parser->data); }
  static const llhttp_settings_t& settings() {
    static const llhttp_settings_t all = [] {
      llhttp_settings_t s;
      llhttp_settings_init(&s);
      s.on_url = [](llhttp_t* p, const char* at, std::size_t n) {
        self(p).request_.target.append(at, n);
        return self(p).request_.target.size() <= target_limit ? 0 : self(p).refuse(HTTP_STATUS_URI_TOO_LONG);
      };
      // Names and values may come in pieces.
      s.on_header_field = [](llhttp_t* p, const char* at, std::size_t n) {
        self(p).name_.append(at, n);
        return 0;
      };
      s.on_header_value = [](llhttp_t* p, const char* at, std::size_t n) {
        self(p).value_.append(at, n);
        return 0;
      };
      s.on_header_value_complete = [](llhttp_t* p) {
        self(p).take_field();
        return 0;
      };
      s.on_headers_complete = [](llhttp_t* p) {
        p->upgrade = 0;  // offers of another protocol are ignored, as RFC 9110 allows
        if ((p->flags & F_CHUNKED) == 0 && p->content_length == 0) return 0;
        // Nothing here wants a body; refusing it unread also answers "Expect: 100-continue".
        const bool known = p->method == HTTP_GET || p->method == HTTP_HEAD;
        return self(p).refuse(known ? HTTP_STATUS_PAYLOAD_TOO_LARGE : HTTP_STATUS_METHOD_NOT_ALLOWED);
      };
      s.on_message_complete = [](llhttp_t*) -> int { return HPE_PAUSED; };  // one request at a time
      return s;
    }();
    return all;
  }

  void take_field() {
    const auto is = [&](const char* name) { return ::strcasecmp(name_.c_str(), name) == 0; };
    if (is("host")) ++request_.hosts;
    if (is("range")) request_.range = value_;
    if (is("if-range")) request_.if_range = value_;
    if (is("if-modified-since")) request_.if_modified_since = value_;
    name_.clear();
    value_.clear();
  }
  int refuse(int status) {
    if (refused_with_ == 0) refused_with_ = status;
    return HPE_USER;
  }
  void begin_next() {
    llhttp_resume(&parser_);
    request_ = request();
    size_ = 0;
  }

  llhttp_t parser_;
  request request_;
  std::string name_, value_;
  std::size_t size_ = 0;
  int refused_with_ = 0;
  bool done_ = false;
};

// ---- files: nothing outside the root can be named ------------------------------------------------------------------

struct found_file {
  rota::unique_fd fd;  // owns nothing when status is not 200
  int status = HTTP_STATUS_OK;
  std::uint64_t size = 0;
  std::time_t modified = 0;
  std::string_view type;
};

std::string_view type_of(std::string_view path) {
  static constexpr std::pair<std::string_view, std::string_view> types[] = {
      {".html", "text/html; charset=utf-8"},
      {".htm", "text/html; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".mjs", "text/javascript; charset=utf-8"},
      {".txt", "text/plain; charset=utf-8"},
      {".md", "text/markdown; charset=utf-8"},
      {".hpp", "text/plain; charset=utf-8"},
      {".cpp", "text/plain; charset=utf-8"},
      {".cmake", "text/plain; charset=utf-8"},
      {".csv", "text/csv; charset=utf-8"},
      {".xml", "application/xml"},
      {".json", "application/json"},
      {".wasm", "application/wasm"},
      {".pdf", "application/pdf"},
      {".zip", "application/zip"},
      {".gz", "application/gzip"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".jpeg", "image/jpeg"},
      {".gif", "image/gif"},
      {".webp", "image/webp"},
      {".ico", "image/x-icon"},
      {".woff2", "font/woff2"},
      {".mp4", "video/mp4"},
  };
  for (const auto& [extension, type] : types)
    if (path.ends_with(extension)) return type;
  return "application/octet-stream";
}

class document_root {
 public:
  /// Throws std::system_error when it is no directory, or the kernel has no openat2 (Linux 5.6).
  explicit document_root(const std::string& path) : fd_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    if (!fd_) throw std::system_error(errno, std::generic_category(), "--root " + path);
    const rota::unique_fd probe = open_beneath(".");
    if (!probe) throw std::system_error(errno, std::generic_category(), "openat2 in --root " + path);
  }

  /// `path` is decoded and relative to the root. A directory stands for its index.html.
  found_file find(std::string path) const {
    if (path.empty()) path = ".";
    found_file file;
    for (int attempt = 0; attempt != 2; ++attempt) {
      file.fd = open_beneath(path);
      struct stat info{};
      if (!file.fd || ::fstat(file.fd.get(), &info) != 0) return missing(status_of(errno));
      if (S_ISREG(info.st_mode)) {
        file.size = static_cast<std::uint64_t>(info.st_size);
        file.modified = info.st_mtime;
        file.type = type_of(path);
        return file;
      }
      if (!S_ISDIR(info.st_mode)) break;  // devices, sockets and pipes are not for the network
      path += "/index.html";
    }
    return missing(HTTP_STATUS_NOT_FOUND);
  }

 private:
  // RESOLVE_BENEATH: the kernel itself refuses (EXDEV) every way out of the root, "..", absolute paths and symbolic
  // links alike, also while somebody renames directories under our hands. Comparing realpath()s could be raced.
  // O_NONBLOCK: a fifo must not hold the loop.
  rota::unique_fd open_beneath(const std::string& path) const {
    struct open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    for (int attempt = 0;; ++attempt) {
      const long fd = ::syscall(SYS_openat2, fd_.get(), path.c_str(), &how, sizeof how);
      const bool again = fd < 0 && (errno == EINTR || errno == EAGAIN);  // EAGAIN: something was renamed meanwhile
      if (!again || attempt == 10) return rota::unique_fd(static_cast<int>(fd));
    }
  }

  static int status_of(int error) {
    switch (error) {
      case EACCES:
      case EPERM: return HTTP_STATUS_FORBIDDEN;
      case EMFILE:
      case ENFILE:
      case ENOMEM: return HTTP_STATUS_SERVICE_UNAVAILABLE;
      default: return HTTP_STATUS_NOT_FOUND;  // what is outside the root is not there either
    }
  }
  static found_file missing(int status) {
    found_file none;
    none.status = status;
    return none;
  }

  rota::unique_fd fd_;
};

// The path in a request's target, decoded, without the leading slashes; nothing when it is malformed.
std::optional<std::string> path_of(std::string_view target) {
  if (!target.starts_with('/')) {  // absolute form: http://host/path
    const std::size_t authority = target.find("://");
    if (authority == target.npos) return std::nullopt;
    const std::size_t slash = target.find('/', authority + 3);
    target = slash == target.npos ? "/" : target.substr(slash);
  }
  target = target.substr(0, target.find_first_of("?#"));
  target.remove_prefix(std::min(target.find_first_not_of('/'), target.size()));
  std::string path;
  for (std::size_t i = 0; i < target.size(); ++i) {
    if (target[i] != '%') {
      path += target[i];
      continue;
    }
    unsigned char decoded = 0;
    if (i + 2 >= target.size()) return std::nullopt;
    const char* const digits = target.data() + i + 1;
    const auto [end, error] = std::from_chars(digits, digits + 2, decoded, 16);
    if (error != std::errc() || end != digits + 2 || decoded == 0) return std::nullopt;
    path += static_cast<char>(decoded);
    i += 2;
  }
  return path;
}

// ---- answers -------------------------------------------------------------------------------------------------------

struct response {
  std::string head;  // and, for errors, the body
  rota::unique_fd file;
  std::uint64_t offset = 0;  // of the part of the file that is sent
  std::uint64_t length = 0;
};

std::string http_date(std::time_t t) {
  std::tm utc{};
  ::gmtime_r(&t, &utc);
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc));
}

std::optional<std::time_t> parse_http_date(const std::string& text) {
  std::tm utc{};
  const char* end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  if (!end || *end) return std::nullopt;
  return ::timegm(&utc);
}

std::string status_line(int status) {
  const auto phrase = [&] {
    switch (status) {
      case HTTP_STATUS_OK: return "OK";
      case HTTP_STATUS_PARTIAL_CONTENT: return "Partial Content";
      case HTTP_STATUS_NOT_MODIFIED: return "Not Modified";
      case HTTP_STATUS_BAD_REQUEST: return "Bad Request";
      case HTTP_STATUS_FORBIDDEN: return "Forbidden";
      case HTTP_STATUS_NOT_FOUND: return "Not Found";
      case HTTP_STATUS_METHOD_NOT_ALLOWED: return "Method Not Allowed";
      case HTTP_STATUS_REQUEST_TIMEOUT: return "Request Timeout";
      case HTTP_STATUS_PAYLOAD_TOO_LARGE: return "Content Too Large";
      case HTTP_STATUS_URI_TOO_LONG: return "URI Too Long";
      case HTTP_STATUS_RANGE_NOT_SATISFIABLE: return "Range Not Satisfiable";
      case HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE: return "Request Header Fields Too Large";
      case HTTP_STATUS_SERVICE_UNAVAILABLE: return "Service Unavailable";
      case HTTP_STATUS_HTTP_VERSION_NOT_SUPPORTED: return "HTTP Version Not Supported";
      default: return "Error";
    }
  };
  return std::to_string(status) + " " + phrase();
}

std::string begin_head(int status, bool keep_alive) {
  return "HTTP/1.1 " + status_line(status) + "\r\nDate: " + http_date(std::time(nullptr)) +
         "\r\nConnection: " + (keep_alive ? "keep-alive" : "close") + "\r\n";
}

response plain_answer(int status, bool keep_alive, bool with_body, std::string fields = std::string()) {
  if (status == HTTP_STATUS_METHOD_NOT_ALLOWED) fields += "Allow: GET, HEAD\r\n";
  const std::string body = status_line(status) + "\n";
  response reply;
  reply.head = begin_head(status, keep_alive) + fields +
               "Content-Type: text/plain; charset=utf-8\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  if (with_body) reply.head += body;
  return reply;
}

// "bytes=first-last", "bytes=first-" or "bytes=-count", clipped to the file. Several ranges, and what is no range,
// count as none: RFC 9110 lets a server send everything.
struct byte_range {
  enum { whole, part, unsatisfiable } kind = whole;
  std::uint64_t first = 0;
  std::uint64_t length = 0;
};
byte_range parse_range(std::string_view text, std::uint64_t size) {
  byte_range range;
  if (!text.starts_with("bytes=")) return range;
  text.remove_prefix(6);
  const std::size_t dash = text.find('-');
  if (dash == text.npos) return range;
  const auto number = [](std::string_view digits) -> std::optional<std::uint64_t> {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc::invalid_argument || end != digits.data() + digits.size()) return std::nullopt;
    return error == std::errc() ? value : UINT64_MAX;
  };
  const std::string_view left = text.substr(0, dash), right = text.substr(dash + 1);
  const auto from = number(left), to = number(right);
  if (left.empty() && to) {
    range.first = size - std::min(*to, size);
    range.length = size - range.first;
  } else if (from && (right.empty() || (to && *from <= *to))) {
    range.first = std::min(*from, size);
    range.length = size - range.first;
    if (to && *from < size) range.length = std::min(*to - *from, range.length - 1) + 1;
  } else {
    return range;
  }
  range.kind = range.length != 0 ? byte_range::part : byte_range::unsatisfiable;
  return range;
}

response answer(const request& r, bool keep_alive, const document_root& root) {
  const bool is_get = r.method == HTTP_GET;
  if (!is_get && r.method != HTTP_HEAD) return plain_answer(HTTP_STATUS_METHOD_NOT_ALLOWED, keep_alive, true);
  const std::optional<std::string> path = path_of(r.target);
  if (!path) return plain_answer(HTTP_STATUS_BAD_REQUEST, keep_alive, is_get);
  found_file file = root.find(*path);
  if (file.status != HTTP_STATUS_OK) return plain_answer(file.status, keep_alive, is_get);

  const std::string modified = http_date(file.modified);
  response reply;
  if (const auto since = parse_http_date(r.if_modified_since); since && file.modified <= *since) {
    reply.head = begin_head(HTTP_STATUS_NOT_MODIFIED, keep_alive) + "Last-Modified: " + modified + "\r\n\r\n";
    return reply;
  }
  byte_range range;
  if (is_get && (r.if_range.empty() || r.if_range == modified)) range = parse_range(r.range, file.size);
  const std::string size = std::to_string(file.size);
  if (range.kind == byte_range::unsatisfiable)
    return plain_answer(HTTP_STATUS_RANGE_NOT_SATISFIABLE, keep_alive, is_get,
                        "Content-Range: bytes */" + size + "\r\n");
  if (range.kind == byte_range::whole) range.length = file.size;

  reply.head = begin_head(range.kind == byte_range::part ? HTTP_STATUS_PARTIAL_CONTENT : HTTP_STATUS_OK, keep_alive);
  if (range.kind == byte_range::part)
    reply.head += "Content-Range: bytes " + std::to_string(range.first) + "-" +
                  std::to_string(range.first + range.length - 1) + "/" + size + "\r\n";
  reply.head += "Content-Type: ";
  reply.head += file.type;
  reply.head += "\r\nContent-Length: " + std::to_string(range.length) + "\r\nLast-Modified: " + modified +
                "\r\nAccept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n\r\n";
  reply.file = std::move(file.fd);
  reply.offset = range.first;
  reply.length = is_get ? range.length : 0;
  return reply;
}

// ---- the conversation ----------------------------------------------------------------------------------------------

// Fills `block` from the file, which holds at least that much. The loop waits meanwhile: that is the page cache's
// speed for a file that was read before and the disk's for another, until rota has operations on files.
void read_block(const rota::unique_fd& file, std::span<std::byte> block, std::uint64_t offset) {
  while (!block.empty()) {
    const ssize_t n = ::pread(file.get(), block.data(), block.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw std::system_error(errno, std::generic_category(), "pread");
    if (n == 0) throw std::runtime_error("a file became shorter while it was sent");
    block = block.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

// The head and the file, block by block: the next one is read when the peer has taken this one.
rota::task<> send(rota::tcp_stream& peer, const response& reply) {
  const std::uint64_t all = reply.head.size() + reply.length;
  std::vector<std::byte> block(static_cast<std::size_t>(std::min<std::uint64_t>(all, block_size)));
  std::size_t filled = reply.head.size();  // a head is much smaller than a block
  std::memcpy(block.data(), reply.head.data(), filled);
  for (std::uint64_t sent = 0; sent != reply.length || filled != 0; filled = 0) {
    const std::size_t room = block.size() - filled;
    const std::size_t part = static_cast<std::size_t>(std::min<std::uint64_t>(room, reply.length - sent));
    read_block(reply.file, std::span(block).subspan(filled, part), reply.offset + sent);
    sent += part;
    co_await rota::timeout(write_limit, peer.write_all(std::span(block).first(filled + part)));
  }
}

// A connection's bytes: what has arrived and is not parsed yet.
struct receiver {
  std::array<std::byte, head_limit> buffer;
  rota::const_buffer unparsed;
};

// False: the peer has ended the stream.
rota::task<bool> receive(rota::tcp_stream& peer, receiver& in) {
  const std::size_t n = co_await peer.read_some(in.buffer);
  in.unparsed = std::span(in.buffer).first(n);
  co_return n != 0;
}

// The same between two requests, where a server that stops does not wait. False then, too.
rota::task<bool> receive_next(rota::tcp_stream& peer, receiver& in, rota::stop_signal stop) {
  const std::optional<bool> more = co_await rota::move_on_when(stop, receive(peer, in));
  co_return more.value_or(false);
}

// Reads to the end of the request that has begun, or of the stream.
rota::task<> receive_rest(rota::tcp_stream& peer, receiver& in, request_parser& parser, request_parser::state& state) {
  bool more = true;
  while (more && state == request_parser::state::incomplete) {
    more = co_await receive(peer, in);
    state = parser.parse(in.unparsed);
  }
}

// Closing while the peer still sends would reset the connection, and with it the answer that the peer has not read.
rota::task<> linger(rota::tcp_stream& peer, receiver& in) {
  peer.shutdown();
  bool more = true;
  while (more) more = co_await receive(peer, in);
}

// [session]
rota::task<> session(rota::tcp_stream peer, const document_root& root, rota::stop_signal stop) {
  receiver in;
  request_parser parser;
  bool keep_alive = true;
  while (keep_alive) {
    // Pipelined requests are here already; otherwise wait for one to begin, then for the rest of it.
    request_parser::state state = parser.parse(in.unparsed);
    while (state == request_parser::state::incomplete && !parser.has_begun()) {
      const std::optional<bool> more = co_await rota::move_on_after(idle_limit, receive_next(peer, in, stop));
      if (!more.value_or(false)) co_return;
      state = parser.parse(in.unparsed);
    }
    bool in_time = true;
    if (state == request_parser::state::incomplete)
      in_time = co_await rota::move_on_after(head_time_limit, receive_rest(peer, in, parser, state));
    if (in_time && state == request_parser::state::incomplete) co_return;  // the stream ended

    int refused = 0;
    if (!in_time) refused = HTTP_STATUS_REQUEST_TIMEOUT;
    if (state == request_parser::state::refused) refused = parser.refused_with();
    keep_alive = refused == 0 && parser.current().keep_alive && !stop.requested();
    const response reply =
        refused != 0 ? plain_answer(refused, false, true) : answer(parser.current(), keep_alive, root);
    co_await send(peer, reply);
    if (refused != 0) co_await rota::move_on_after(linger_limit, linger(peer, in));
  }
}
// [/session]

// [on_error]
// What a peer does to its own connection is not worth a line.
void report_failure(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::system_error& e) {
    if (rota::peer_has_gone(e.code()) || e.code() == rota::errc::timed_out) return;
    rota::report("a connection failed: %s", e.what());
  } catch (const std::exception& e) {
    rota::report("a connection failed: %s", e.what());
  }
}
// [/on_error]

// [server]
rota::task<int> server(std::uint16_t port, std::string path) {
  const document_root root(path);
  auto listener = rota::tcp_listener::bind({"127.0.0.1", port});
  std::cout << "listening on http://" << listener.local_address().to_string() << " ("
            << rota::to_string(listener.loop()->backend()) << ")" << std::endl;

  rota::serve_options options;
  options.most_connections = 10'000;
  options.grace = 2s;  // after Ctrl-C, for answers that are on their way; idle connections end at once
  options.on_error = report_failure;
  const auto handler = [&root](rota::tcp_stream peer, rota::stop_signal stop) {
    return session(std::move(peer), root, stop);
  };
  try {
    co_await rota::serve(std::move(listener), handler, options);
  } catch (const rota::cancelled&) {
    // Ctrl-C, or SIGTERM: how this server is meant to end. Without this the exit code would say that a signal ended it.
  }
  co_return 0;
}
// [/server]

}  // namespace

int main(int argc, char** argv) {
  support::arguments arguments(argc, argv,
                               "usage: http_file_server [options]       serves the files of a directory by HTTP/1.1\n"
                               "  --port N          on 127.0.0.1, default 8080; 0 takes a free one\n"
                               "  --root DIR        default: the current directory\n"
                               "  --backend NAME    io_uring, epoll or auto (default)\n");
  const auto port = arguments.number<std::uint16_t>("--port", 8080, 0, 65535);
  const std::string root(arguments.text("--root", "."));
  rota::event_loop_options options;
  options.backend = arguments.backend();
  arguments.end();
  return rota::run_main(server(port, root), options);
}
