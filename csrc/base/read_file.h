// A whole file in memory.
#ifndef GLUON_RESNET_READ_FILE_H_
#define GLUON_RESNET_READ_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace gluon_resnet {

// Throws Error(kSystem) with the path, for more bytes than `most`, too: /dev/zero has no end.
std::string read_file(const std::string& path, size_t most = SIZE_MAX);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_READ_FILE_H_
