// The command line of the program `predict`.
#ifndef GLUON_RESNET_COMMAND_LINE_H_
#define GLUON_RESNET_COMMAND_LINE_H_

#include <optional>
#include <string>
#include <vector>

#include "predictor/predictor.h"

namespace gluon_resnet {

struct CommandLine {
  bool help = false;
  bool logits = false;
  bool json = false;
  bool standard_input = false;
  int batch_size = 16;
  int threads = 0;  // 0: all processors that the process may use
  int top_k = 5;
  std::string prefix;               // of the model
  std::optional<ModelCard> card;    // if none: PREFIX-model.json
  std::vector<std::string> images;  // files, folders, record files
};

extern const char* const kUsage;

// Throws Error(kUsage).
CommandLine parse_command_line(int argc, char** argv);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_COMMAND_LINE_H_
