// A whole file in memory.
#ifndef GLUON_RESNET_READ_FILE_H_
#define GLUON_RESNET_READ_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/regular_file.h"

namespace gluon_resnet {

// Throws Error(kSystem) with the path, also if it is not a regular file or has more than `most`
// bytes.
std::string read_file(const std::string& path, size_t most = SIZE_MAX);
std::string read_file(const RegularFile& file, const std::string& path, size_t most = SIZE_MAX);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_READ_FILE_H_
