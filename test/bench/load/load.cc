// Load generator for the datapath benchmarks: one thread, blocking sockets, no allocation while measuring, so that what is
// measured is the network between two namespaces. Usage: load server PORT | load rr|crr|stream ADDRESS PORT SECONDS
// A client prints one line of JSON. Times are microseconds.
// Two more clients tell when something became possible, in nanoseconds of the monotonic clock that all processes share:
// load once ADDRESS PORT (the first answer) and load watch ADDRESS[,ADDRESS...] PORT (each change between open and closed).
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
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

[[noreturn]] void fail(const char *what) {
  std::fprintf(stderr, "load: %s: %s\n", what, std::strerror(errno));
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

// Echoes what it gets, unless the connection's first byte is 'S': then it only swallows.
int serve(const char *port) {
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
  enum class Mode : unsigned char { fresh, echo, sink };
  std::vector<Mode> modes(65536, Mode::fresh);
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
        modes[std::size_t(accepted)] = Mode::fresh;
        event.data.fd = accepted;
        epoll_ctl(poll, EPOLL_CTL_ADD, accepted, &event);
        continue;
      }
      ssize_t got = read(fd, buffer, sizeof buffer);
      if (got <= 0) {
        close(fd);
        continue;
      }
      Mode &mode = modes[std::size_t(fd)];
      if (mode == Mode::fresh) mode = buffer[0] == 'S' ? Mode::sink : Mode::echo;
      if (mode == Mode::echo && write(fd, buffer, std::size_t(got)) != got) close(fd);
    }
  }
}

struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
  int open() const {
    int fd = socket(address.ss_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr *>(&address), size)) fail("connect");
    no_delay(fd);
    return fd;
  }
};

Target resolve(const char *host, const char *port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host, port, &hints, &found)) fail("address");
  Target target;
  std::memcpy(&target.address, found->ai_addr, found->ai_addrlen);
  target.size = found->ai_addrlen;
  freeaddrinfo(found);
  return target;
}

void ping(int fd) {
  char byte = 'E';
  if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) fail("request");
}

void report(const char *mode, std::vector<std::uint32_t> &ns, double seconds) {
  std::sort(ns.begin(), ns.end());
  auto at = [&](double q) { return ns.empty() ? 0.0 : ns[std::min(ns.size() - 1, std::size_t(q * double(ns.size())))] / 1000.0; };
  std::printf("{\"mode\":\"%s\",\"count\":%zu,\"perSecond\":%.1f,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f}\n", mode, ns.size(),
              double(ns.size()) / seconds, at(.5), at(.9), at(.99), at(.999));
}

int measure(const std::string &mode, const Target &target, double seconds) {
  const std::uint64_t start = now_ns(), end = start + std::uint64_t(seconds * 1e9);
  if (mode == "stream") {
    int fd = target.open();
    static char chunk[1 << 17];
    chunk[0] = 'S';
    std::uint64_t bytes = 0;
    while (now_ns() < end) {
      ssize_t sent = write(fd, chunk, sizeof chunk);
      if (sent <= 0) fail("write");
      bytes += std::uint64_t(sent);
    }
    std::printf("{\"mode\":\"stream\",\"gbitPerSecond\":%.3f}\n", double(bytes) * 8 / double(now_ns() - start));
    return 0;
  }
  std::vector<std::uint32_t> samples;
  samples.reserve(4000000);
  int fd = mode == "rr" ? target.open() : -1;
  if (fd >= 0) for (int i = 0; i < 1000; i++) ping(fd);
  const std::uint64_t began = now_ns();
  for (std::uint64_t before = began; before < end && samples.size() < samples.capacity();) {
    if (mode == "crr") {
      int each = target.open();
      ping(each);
      close(each);
    } else {
      ping(fd);
    }
    const std::uint64_t after = now_ns();
    samples.push_back(std::uint32_t(after - before));
    before = after;
  }
  report(mode.c_str(), samples, double(now_ns() - began) / 1e9);
  return 0;
}

// Whether a new connection is let in. A SYN that passes is answered before connect returns: a millisecond is plenty.
bool is_open(const Target &target) {
  int fd = socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) fail("socket");
  linger reset{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  bool connected = connect(fd, reinterpret_cast<const sockaddr *>(&target.address), target.size) == 0;
  if (!connected && errno == EINPROGRESS) {
    pollfd wait{fd, POLLOUT, 0};
    connected = poll(&wait, 1, 1) == 1 && !(wait.revents & (POLLERR | POLLHUP));
  }
  close(fd);
  return connected;
}

// Closed means: none of the addresses answers. A state counts from its first probe, but is told only when three agree on it.
[[noreturn]] void watch(const std::vector<Target> &targets) {
  enum { unknown, open, closed } told = unknown, seen = unknown;
  std::uint64_t since = 0;
  for (int agreeing = 0;;) {
    const std::uint64_t started = now_ns();
    const bool any = std::any_of(targets.begin(), targets.end(), is_open);
    const auto now = any ? open : closed;
    if (now != seen) {
      seen = now;
      since = started;
      agreeing = 0;
    }
    if (++agreeing >= 3 && seen != told) {
      told = seen;
      std::printf("{\"open\":%s,\"atNs\":%llu}\n", any ? "true" : "false", static_cast<unsigned long long>(since));
      std::fflush(stdout);
    }
    usleep(300);
  }
}

std::vector<Target> resolve_all(const std::string &hosts, const char *port) {
  std::vector<Target> targets;
  for (std::size_t from = 0; from <= hosts.size();) {
    const std::size_t comma = std::min(hosts.find(',', from), hosts.size());
    targets.push_back(resolve(hosts.substr(from, comma - from).c_str(), port));
    from = comma + 1;
  }
  return targets;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc == 3 && std::string(argv[1]) == "server") return serve(argv[2]);
  if (argc == 4 && std::string(argv[1]) == "once") {
    ping(resolve(argv[2], argv[3]).open());
    std::printf("{\"atNs\":%llu}\n", static_cast<unsigned long long>(now_ns()));
    return 0;
  }
  if (argc == 4 && std::string(argv[1]) == "watch") watch(resolve_all(argv[2], argv[3]));
  if (argc == 5) {
    const std::string mode = argv[1];
    if (mode == "rr" || mode == "crr" || mode == "stream") return measure(mode, resolve(argv[2], argv[3]), std::atof(argv[4]));
  }
  std::fprintf(stderr, "usage: load server PORT | load rr|crr|stream ADDRESS PORT SECONDS | load once|watch ADDRESS PORT\n");
  return 2;
}
