"""The tasks by name: on one region, on all that an expression means, and the captions of step 1."""

from vilam.tasks.activation import Activation
from vilam.tasks.base import GroundingTask, GroupTask, Task
from vilam.tasks.presence import Presence
from vilam.tasks.rec_box import RecBox
from vilam.tasks.rec_every import RecEvery
from vilam.tasks.rec_keypoints import RecKeypoints
from vilam.tasks.rec_mask import RecMask
from vilam.tasks.reg_caption import RegCaption
from vilam.tasks.reg_class import RegClass

TASKS: dict[str, GroundingTask] = {
    task.name: task for task in (RecBox(), RecKeypoints(), RecMask(), RegClass(), RegCaption())
}
"""The paper's five, each on one region."""
GROUP_TASKS: dict[str, GroupTask] = {task.name: task for task in (RecEvery(), Presence())}
"""On whatever an expression means: several regions or none."""
ALL_TASKS: dict[str, Task] = {**TASKS, **GROUP_TASKS}
"""All that can be trained and evaluated."""
ACTIVATION: GroundingTask = Activation()
