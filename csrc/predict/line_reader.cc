#include "predict/line_reader.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "base/error.h"

namespace gluon_resnet {
namespace {

constexpr const char* kName = "standard input";

}  // namespace

LineReader::LineReader(int descriptor)
    : descriptor_(descriptor), stop_event_(::eventfd(0, EFD_CLOEXEC)) {
  if (stop_event_ < 0) throw_system_error(kName, "cannot wait for it");
}

LineReader::~LineReader() { ::close(stop_event_); }

void LineReader::stop() {
  const uint64_t one = 1;
  // Fails only for a counter at its end.
  [[maybe_unused]] const ssize_t written = ::write(stop_event_, &one, sizeof(one));
}

// False after stop().
bool LineReader::wait(const std::function<void(bool)>& paused) {
  pollfd events[] = {{descriptor_, POLLIN, 0}, {stop_event_, POLLIN, 0}};
  if (::poll(events, 2, 0) == 0) {
    paused(true);
    while (::poll(events, 2, -1) < 0) {
      if (errno != EINTR) throw_system_error(kName, "cannot wait for it");
    }
    paused(false);
  }
  return events[1].revents == 0;
}

bool LineReader::next(std::string* line, const std::function<void(bool)>& paused) {
  for (size_t searched = begin_;;) {
    const size_t end = text_.find('\n', searched);
    if (end != std::string::npos) {
      line->assign(text_, begin_, end - begin_);
      begin_ = end + 1;
      return true;
    }
    if (ended_) {
      line->assign(text_, begin_, std::string::npos);
      begin_ = text_.size();
      return !line->empty();
    }
    text_.erase(0, begin_);
    begin_ = 0;
    searched = text_.size();
    if (!wait(paused)) return false;
    char block[1 << 12];
    const ssize_t got = ::read(descriptor_, block, sizeof(block));
    if (got < 0 && errno != EINTR && errno != EAGAIN) throw_system_error(kName, "cannot read");
    if (got == 0) ended_ = true;
    if (got > 0) text_.append(block, static_cast<size_t>(got));
  }
}

}  // namespace gluon_resnet
