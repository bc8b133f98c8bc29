// Waiting for what others write: pipes and the standard input.
#pragma once

namespace levanter {

/// Returns when a read of this file would not wait: there is something, or its end. Throws as
/// throw_if_stopped does when the program was asked to stop meanwhile.
void wait_for_input(int fd);

}  // namespace levanter
