// A file without a folder, for readers that take a path.
#ifndef GLUON_RESNET_TESTS_MEMORY_FILE_H_
#define GLUON_RESNET_TESTS_MEMORY_FILE_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "require.h"

namespace gluon_resnet {

class MemoryFile {
 public:
  explicit MemoryFile(const char* name) : descriptor_(::memfd_create(name, 0)) {
    require(descriptor_ >= 0, "memfd_create works");
    path_ = concat("/proc/self/fd/", descriptor_);
  }

  const std::string& write(const uint8_t* data, size_t size) {
    require(::ftruncate(descriptor_, 0) == 0 &&
                ::pwrite(descriptor_, data, size, 0) == static_cast<ssize_t>(size),
            "a file in memory can be written");
    return path_;
  }

 private:
  int descriptor_;
  std::string path_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_TESTS_MEMORY_FILE_H_
