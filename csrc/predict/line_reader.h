// The lines of a file descriptor, read while they come.
#ifndef GLUON_RESNET_LINE_READER_H_
#define GLUON_RESNET_LINE_READER_H_

#include <cstddef>
#include <functional>
#include <string>

namespace gluon_resnet {

// One thread reads; any thread may stop it.
class LineReader {
 public:
  explicit LineReader(int descriptor);  // which stays the caller's
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line, without its end; false behind the last one, which may lack its end, and after
  // stop(). `paused` is told true before the reader waits for more, and false behind that.
  // Throws Error(kSystem).
  bool next(std::string* line, const std::function<void(bool)>& paused);

  void stop();

 private:
  bool wait(const std::function<void(bool)>& paused);

  const int descriptor_;
  int stop_event_;
  std::string text_;  // what has been read
  size_t begin_ = 0;  // of what has not been returned
  bool ended_ = false;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_LINE_READER_H_
