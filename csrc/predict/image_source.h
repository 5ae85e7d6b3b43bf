// The images that a command line names: files, folders, record files and lines of standard input.
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
  std::string error;  // if not empty, why there is nothing to read
};

// Why an image cannot be read, without the path at the start of the message.
std::string reason(const Error& error);

// Finds the images one by one, so that an endless list takes no memory. One thread asks for them;
// any thread may stop it.
class ImageSource {
 public:
  ImageSource(std::vector<std::string> names, bool standard_input);

  // Gets the next image; false at the end. `paused` is called when waiting for standard input.
  bool next(ImageName* image, const std::function<void(bool)>& paused);

  void stop() { lines_.stop(); }

 private:
  void open(const std::string& name);
  void open_folder(const std::string& folder);

  std::deque<std::string> names_;
  bool standard_input_;
  LineReader lines_;
  std::deque<ImageName> found_;                // in the last folder or file
  std::shared_ptr<const RecordFile> records_;  // the record file being read
  size_t next_record_ = 0;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_IMAGE_SOURCE_H_
