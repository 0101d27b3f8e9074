"""The grounding tasks by name: the five that are trained jointly and evaluated, and the captions of step 1."""

from vilam.tasks.activation import Activation
from vilam.tasks.base import GroundingTask
from vilam.tasks.rec_box import RecBox
from vilam.tasks.rec_keypoints import RecKeypoints
from vilam.tasks.rec_mask import RecMask
from vilam.tasks.reg_caption import RegCaption
from vilam.tasks.reg_class import RegClass

TASKS: dict[str, GroundingTask] = {
    task.name: task for task in (RecBox(), RecKeypoints(), RecMask(), RegClass(), RegCaption())
}
ACTIVATION: GroundingTask = Activation()
