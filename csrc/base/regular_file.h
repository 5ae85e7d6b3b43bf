// A regular file, opened for reading.
#ifndef GLUON_RESNET_REGULAR_FILE_H_
#define GLUON_RESNET_REGULAR_FILE_H_

#include <cstdint>
#include <string>

#include "base/error.h"

namespace gluon_resnet {

// Owns a descriptor. A pipe, which would be waited for, a device, which may have no end, and a
// folder are refused, each at once and by its name.
class RegularFile {
 public:
  // Throws Error(kSystem) with the system's code where the file cannot be opened. Where it is no
  // regular file, throws an Error of this kind, which says what was expected.
  explicit RegularFile(const std::string& path, ErrorKind kind = ErrorKind::kSystem,
                       const char* expected = "a regular file");
  ~RegularFile();
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;

  int descriptor() const { return descriptor_; }
  uint64_t size() const { return size_; }  // when it was opened

 private:
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_REGULAR_FILE_H_
