// Load generator for the HTTP benchmarks: one thread each, epoll, no allocation while measuring. Usage:
//   http server PORT                                        answers every request head with 200 and two bytes
//   http client ADDRESS PORT CONNECTIONS HEAD_BYTES SECONDS  one request on its way per connection, all the time
//   http sink PORT | http upload ADDRESS PORT SECONDS        one request with a body without end
// A client prints one line of JSON. Times are microseconds.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

[[noreturn]] void fail(const char *what) {
  std::fprintf(stderr, "http: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

std::uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::uint64_t(t.tv_sec) * 1000000000u + std::uint64_t(t.tv_nsec);
}

void no_delay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// With `swallow` nothing is ever answered.
[[noreturn]] void serve(const char *port, bool swallow) {
  int listener = socket(AF_INET6, SOCK_STREAM, 0), one = 1, zero = 0;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(std::uint16_t(std::atoi(port)));
  if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address) || listen(listener, 1024)) fail("listen");
  int poll = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener;
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  static char buffer[1 << 18];
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    epoll_event events[64];
    int n = epoll_wait(poll, events, 64, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int accepted = accept(listener, nullptr, nullptr);
        if (accepted < 0) continue;
        no_delay(accepted);
        event.data.fd = accepted;
        epoll_ctl(poll, EPOLL_CTL_ADD, accepted, &event);
        continue;
      }
      ssize_t got = read(fd, buffer, sizeof buffer);
      if (got <= 0) {
        close(fd);
        continue;
      }
      // The load's requests end where their last read ends: a head in two reads is answered at its second.
      if (!swallow && got >= 4 && !std::memcmp(buffer + got - 4, "\r\n\r\n", 4) &&
          write(fd, answer.data(), answer.size()) != ssize_t(answer.size()))
        close(fd);
    }
  }
}

int dial(const char *host, const char *port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host, port, &hints, &found)) fail("address");
  int fd = socket(found->ai_family, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen)) fail("connect");
  freeaddrinfo(found);
  no_delay(fd);
  return fd;
}

// As browsers send them: many headers of some sixty bytes.
std::string request_of(std::size_t bytes) {
  std::string request = "GET /public/index.html HTTP/1.1\r\nHost: server.example\r\nUser-Agent: load\r\n";
  for (int i = 0; request.size() + 2 < bytes; i++) {
    std::string line = "X-Header-" + std::to_string(i) + ": ";
    const std::size_t left = bytes - 2 - request.size();
    if (left < line.size() + 2) break;
    line.append(std::min<std::size_t>(64, left) - std::min<std::size_t>(left, line.size() + 2), 'v');
    request += line + "\r\n";
  }
  return request + "\r\n";
}

int measure(const char *host, const char *port, int connections, std::size_t head, double seconds) {
  const std::string request = request_of(head);
  struct Connection {
    int fd;
    std::size_t got;
    std::uint64_t asked;
  };
  std::vector<Connection> all;
  std::vector<std::uint32_t> samples;
  samples.reserve(8000000);
  int poll = epoll_create1(0);
  for (int i = 0; i < connections; i++) {
    all.push_back({dial(host, port), 0, 0});
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = std::uint32_t(i);
    epoll_ctl(poll, EPOLL_CTL_ADD, all.back().fd, &event);
  }
  auto ask = [&](Connection &c) {
    c.got = 0;
    c.asked = now_ns();
    if (write(c.fd, request.data(), request.size()) != ssize_t(request.size())) fail("write");
  };
  for (auto &c : all) ask(c);
  const std::uint64_t warm = now_ns() + 100000000, end = warm + std::uint64_t(seconds * 1e9);
  char buffer[4096];
  for (std::uint64_t now = 0; now < end;) {
    epoll_event events[64];
    int n = epoll_wait(poll, events, 64, 1000);
    if (n <= 0) fail("no answer");
    for (int i = 0; i < n; i++) {
      Connection &c = all[events[i].data.u32];
      ssize_t got = read(c.fd, buffer, sizeof buffer);
      if (got <= 0) fail("read");
      if (c.got == 0 && std::memcmp(buffer, "HTTP/1.1 200", 12)) fail("not 200");
      c.got += std::size_t(got);
      now = now_ns();
      // Proxies add headers: an answer ends with the body's two bytes behind an empty line.
      if (got < 6 || std::memcmp(buffer + got - 6, "\r\n\r\nok", 6)) continue;
      if (now > warm && samples.size() < samples.capacity()) samples.push_back(std::uint32_t(now - c.asked));
      ask(c);
    }
  }
  std::sort(samples.begin(), samples.end());
  auto at = [&](double q) { return samples.empty() ? 0.0 : samples[std::min(samples.size() - 1, std::size_t(q * double(samples.size())))] / 1000.0; };
  std::printf("{\"count\":%zu,\"perSecond\":%.1f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f}\n", samples.size(),
              double(samples.size()) / seconds, at(.5), at(.9), at(.99), at(.999));
  return 0;
}

int upload(const char *host, const char *port, double seconds) {
  int fd = dial(host, port);
  const std::string head = "POST /public/upload HTTP/1.1\r\nHost: server.example\r\nContent-Length: 900000000000\r\n\r\n";
  if (write(fd, head.data(), head.size()) != ssize_t(head.size())) fail("write");
  static char chunk[1 << 17];
  const std::uint64_t start = now_ns(), end = start + std::uint64_t(seconds * 1e9);
  std::uint64_t bytes = 0;
  while (now_ns() < end) {
    ssize_t sent = write(fd, chunk, sizeof chunk);
    if (sent <= 0) fail("write");
    bytes += std::uint64_t(sent);
  }
  std::printf("{\"gbitPerSecond\":%.3f}\n", double(bytes) * 8 / double(now_ns() - start));
  return 0;
}

}  // namespace

int main(int argc, char **argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (argc == 3 && mode == "server") serve(argv[2], false);
  if (argc == 3 && mode == "sink") serve(argv[2], true);
  if (argc == 7 && mode == "client")
    return measure(argv[2], argv[3], std::atoi(argv[4]), std::size_t(std::atoi(argv[5])), std::atof(argv[6]));
  if (argc == 5 && mode == "upload") return upload(argv[2], argv[3], std::atof(argv[4]));
  std::fprintf(stderr, "usage: http server|sink PORT | http client ADDRESS PORT CONNECTIONS HEAD_BYTES SECONDS | http upload ADDRESS PORT SECONDS\n");
  return 2;
}
