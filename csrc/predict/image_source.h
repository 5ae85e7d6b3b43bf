// Which images a command line names: files, folders, record files, and lines of standard input.
#ifndef GLUON_RESNET_IMAGE_SOURCE_H_
#define GLUON_RESNET_IMAGE_SOURCE_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "predict/line_reader.h"
#include "records/record_file.h"

namespace gluon_resnet {

// An image that has not been read yet.
struct ImageName {
  std::string name;                           // as it is printed
  std::shared_ptr<const RecordFile> records;  // null: `name` is the path of a file
  size_t record = 0;
  std::string error;  // not empty: why there is nothing to read
};

// Why an image cannot be read, without the path that its message begins with.
std::string reason(const Error& error);

// One after the other, so that a list without end takes no memory. One thread asks; any may stop
// it.
class ImageSource {
 public:
  ImageSource(std::vector<std::string> names, bool standard_input);

  // The next image; false at the end. `paused` is told while standard input is waited for.
  bool next(ImageName* image, const std::function<void(bool)>& paused);

  void stop() { lines_.stop(); }

 private:
  void open(const std::string& name);
  void open_folder(const std::string& folder);

  std::deque<std::string> names_;
  bool standard_input_;
  LineReader lines_;
  std::deque<ImageName> found_;                // of the last folder or file
  std::shared_ptr<const RecordFile> records_;  // that are being gone through
  size_t next_record_ = 0;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_IMAGE_SOURCE_H_
