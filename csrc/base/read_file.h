// A whole file in memory.
#ifndef GLUON_RESNET_READ_FILE_H_
#define GLUON_RESNET_READ_FILE_H_

#include <string>

namespace gluon_resnet {

// Throws Error(kSystem) with the path.
std::string read_file(const std::string& path);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_READ_FILE_H_
