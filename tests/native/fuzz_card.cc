// A libFuzzer target: whatever the bytes of a model card, or of a file of class names, reading it
// gives an Error(kSystem), or a card whose transform is possible, or names.

#include <cstdint>
#include <string>

#include "memory_file.h"
#include "predictor/card.h"
#include "refused.h"

namespace gluon_resnet {
namespace {

template <typename Read>
void read_or_refuse(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    require_refusal(error, ErrorKind::kSystem);
  }
}

void run(const uint8_t* data, size_t size) {
  static auto* const file = new MemoryFile("card");
  const std::string path = file->write(data, size);
  read_or_refuse([&] {
    const ModelCard card = read_card(path);
    require(!card.classes.empty(), "a card has classes");
    evaluation_transform(card);
  });
  read_or_refuse([&] {
    for (const std::string& name : read_classes(path)) {
      require(name.find('\n') == std::string::npos, "a name is a line");
    }
  });
}

}  // namespace
}  // namespace gluon_resnet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gluon_resnet::run(data, size);
  return 0;
}
