// The lines of a file descriptor, read as they arrive.
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

  // Gets the next line, without its end; false after the last line, which may lack its end, and
  // after stop(). `paused` is called with true before the reader waits for more, and then false.
  // Throws Error(kSystem).
  bool next(std::string* line, const std::function<void(bool)>& paused);

  void stop();

 private:
  bool wait(const std::function<void(bool)>& paused);

  const int descriptor_;
  int stop_event_;
  std::string text_;  // read so far
  size_t begin_ = 0;  // start of the text not yet returned
  bool ended_ = false;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_LINE_READER_H_
