// A regular file, opened for reading.
#ifndef GLUON_RESNET_REGULAR_FILE_H_
#define GLUON_RESNET_REGULAR_FILE_H_

#include <cstdint>
#include <string>

#include "base/error.h"

namespace gluon_resnet {

// Owns a descriptor. Pipes, which would block, devices, which may have no end, and folders are
// refused at once, with a message that says what was found.
class RegularFile {
 public:
  // Throws Error(kSystem) with the system's code if the file cannot be opened. If it is not a
  // regular file, throws an Error of the given kind, which says what was expected.
  explicit RegularFile(const std::string& path, ErrorKind kind = ErrorKind::kSystem,
                       const char* expected = "a regular file");
  ~RegularFile();
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;

  int descriptor() const { return descriptor_; }
  uint64_t size() const { return size_; }  // at the time of opening

 private:
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_REGULAR_FILE_H_
