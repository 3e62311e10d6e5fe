// The request path of examples/http_file_server.cpp in a simulated world: its parser, paths, ranges and keep-alive, over
// a virtual connection. The oracle:
//   - every reply is well formed, complete, and tells a status that the server has;
//   - what it sends is a part of a file below the root, the part that its head tells: nothing else of the machine;
//   - how the bytes arrive, at once or in crumbs, changes no reply;
//   - the conversation ends, and nothing is left of it.
#include <rota/testing/simulation.hpp>

#include <filesystem>
#include <fstream>
#include <map>

#include "fuzz/fuzz.hpp"

// As a whole, and after the others: names of it are those of the C library, too.
#define main http_file_server_main
#include "http_file_server.cpp"
#undef main

namespace fs = std::filesystem;
using rota::testing::simulation;
using rota::testing::simulation_options;
using rota_fuzz::require;

namespace {

// ---- the files that are served; each has a size of its own

struct served_files {
  served_files() : top(fs::temp_directory_path() / ("rota_http_fuzz." + std::to_string(::getpid()))) {
    fs::create_directories(top / "root" / "sub");
    add("index.html", 20);
    add("a.txt", 7);
    add("empty.txt", 0);
    add("sub/index.html", 33);
    add("big.bin", 150'000);  // more than a block
    std::ofstream(top / "secret") << "not to be seen, whatever is asked for";
    fs::create_symlink("../secret", top / "root" / "out");
    fs::create_symlink("/", top / "root" / "slash");
    fs::create_symlink("a.txt", top / "root" / "in");
    require(::mkfifo((top / "root" / "fifo").c_str(), 0600) == 0, "mkfifo");
  }
  ~served_files() { fs::remove_all(top); }

  void add(const char* name, std::size_t size) {
    std::string bytes;
    for (std::size_t i = 0; i != size; ++i) bytes += static_cast<char>('a' + (i * 7 + i / 26 + size) % 26);
    std::ofstream(top / "root" / name) << bytes;
    by_size[size] = bytes;
  }

  fs::path top;
  std::map<std::size_t, std::string> by_size;
};
const served_files& files() {
  static const served_files all;
  return all;
}

// ---- the conversation

/// How the request's bytes are sent.
struct manner {
  std::size_t crumb = SIZE_MAX;  // at most so many at a time, at least one
  std::chrono::seconds pause{0};
};

rota::task<> serve_files() {
  const document_root root((files().top / "root").string());
  auto listener = rota::tcp_listener::bind({"0.0.0.0", 80});
  const auto handler = [&root](rota::tcp_stream peer, rota::stop_signal stop) {
    return session(std::move(peer), root, stop);
  };
  rota::serve_options options;
  options.on_error = report_failure;
  co_await rota::serve(std::move(listener), handler, options);
}

rota::task<> say(rota::tcp_stream& stream, std::span<const std::uint8_t> bytes, manner how) {
  try {
    while (!bytes.empty()) {
      const auto part = bytes.first(std::min(how.crumb, bytes.size()));
      bytes = bytes.subspan(part.size());
      co_await stream.write_all(std::as_bytes(part));
      if (how.pause.count() != 0) co_await rota::sleep_for(how.pause);
    }
    stream.shutdown();
  } catch (const std::system_error&) {  // the server wants no more
  }
}

rota::task<> hear(rota::tcp_stream& stream, std::string& heard) {
  std::vector<std::byte> buffer(65'536);
  try {
    for (;;) {
      const std::size_t n = co_await stream.read_some(buffer);
      if (n == 0) break;
      heard += rota::as_text(std::span(buffer).first(n));
    }
  } catch (const std::system_error&) {
  }
}

rota::task<std::string> talk(rota::address to, std::span<const std::uint8_t> bytes, manner how) {
  std::string heard;
  rota::tcp_stream stream = co_await rota::tcp_stream::connect(to);
  co_await rota::when_all(say(stream, bytes, how), hear(stream, heard));
  co_return heard;
}

std::string converse(std::span<const std::uint8_t> bytes, manner how, const simulation_options& options) {
  simulation world(options);
  simulation::host& host = world.add_host("one");
  auto server = host.spawn(serve_files);
  auto client = host.spawn(talk, host.address(80), bytes, how);
  world.run_until([&] { return client.done(); });
  server.cancel();
  world.run();
  require(world.quiescent(), "something is left of the conversation");
  return client.result();
}

// ---- the replies

std::string_view value_of(std::string_view head, std::string_view name) {
  for (std::size_t at = 0; (at = head.find("\r\n", at)) != head.npos;) {
    at += 2;
    if (!head.substr(at).starts_with(name)) continue;
    return head.substr(at + name.size(), head.find("\r\n", at) - at - name.size());
  }
  return {};
}
std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size(), "a number in a head that is none");
  return value;
}

/// Takes one reply off the front. Gives it without its date.
std::string take_reply(std::string_view& rest) {
  const std::size_t end = rest.find("\r\n\r\n");
  require(end != rest.npos, "a head without end");
  const std::string_view head = rest.substr(0, end + 2);
  rest.remove_prefix(end + 4);
  require(head.starts_with("HTTP/1.1 ") && head.size() > 13, "a reply that does not begin as one");
  const std::uint64_t status = number(head.substr(9, 3));
  for (const char c : head) require(c == '\r' || c == '\n' || (c >= ' ' && c < 127), "a control character in a head");
  constexpr std::uint64_t known[] = {200, 206, 304, 400, 403, 404, 405, 408, 413, 414, 416, 431, 505};
  require(std::find(std::begin(known), std::end(known), status) != std::end(known),
          "a status that is not the server's");

  std::string_view body;
  if (const std::string_view length = value_of(head, "Content-Length: "); !length.empty()) {
    const std::size_t size = number(length);
    // Nothing follows the head where HEAD was asked for; no file begins like this.
    if (size != 0 && !rest.empty() && !rest.starts_with("HTTP/1.1 ")) {
      require(rest.size() >= size, "a body that is cut short");
      body = rest.substr(0, size);
      rest.remove_prefix(size);
    }
    if (status == 200) {
      const auto file = files().by_size.find(size);
      require(file != files().by_size.end() && (body.empty() || body == file->second), "the bytes of no file");
    }
    if (status == 206) {
      const std::string_view range = value_of(head, "Content-Range: bytes ");
      const std::size_t dash = range.find('-'), slash = range.find('/');
      require(dash != range.npos && slash != range.npos, "a range that is none");
      const std::uint64_t from = number(range.substr(0, dash));
      const std::uint64_t to = number(range.substr(dash + 1, slash - dash - 1));
      const auto file = files().by_size.find(number(range.substr(slash + 1)));
      require(file != files().by_size.end() && from <= to && to < file->first && to - from + 1 == size,
              "a range that is not in the file");
      require(body == std::string_view(file->second).substr(from, size), "another part than the head tells");
    }
  }
  if (value_of(head, "Connection: ") == "close") require(rest.empty(), "something follows the last reply");
  const std::size_t date = head.find("\r\nDate: ");
  require(date != head.npos, "a reply without a date");
  std::string all(head.substr(0, date));
  all += head.substr(head.find("\r\n", date + 2));
  all += body;
  return all;
}

std::string take_replies(std::string_view heard) {
  std::string all;
  while (!heard.empty()) all += take_reply(heard);
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rota::set_report_handler([](const char*) noexcept {});
  rota_fuzz::input in({data, size});
  simulation_options options(in.byte());
  options.keep_trace = false;
  const std::uint8_t kind = in.byte();
  constexpr std::size_t crumbs[] = {1, 2, 3, 7, 16, 50, 200, 1'000};
  manner how;
  how.crumb = crumbs[kind % 8u];
  const std::span<const std::uint8_t> request = in.take(SIZE_MAX);

  const std::string at_once = take_replies(converse(request, manner(), options));
  // Sizes and orders of everything differ; no time passes, or limits would strike.
  options.faults.set(rota::testing::fault::short_read, 200).set(rota::testing::fault::short_write, 200);
  options.shuffle = true;
  require(take_replies(converse(request, how, options)) == at_once, "how the bytes arrive made a difference");
  if (kind >= 192 && request.size() / how.crumb < 20) {  // a peer that takes its time
    how.pause = std::chrono::seconds(kind & 8 ? 61 : kind & 16 ? 31 : 5);
    (void)take_replies(converse(request, how, options));
  }
  return 0;
}
