package androidx.camera.view

import android.content.Context
import android.view.View
import androidx.camera.core.ImageCapture
import androidx.lifecycle.LifecycleOwner
import java.util.concurrent.Executor

abstract class CameraController { fun takePicture(executor: Executor, callback: ImageCapture.OnImageCapturedCallback): Unit = TODO() }

class LifecycleCameraController(context: Context) : CameraController() {
    fun bindToLifecycle(owner: LifecycleOwner): Unit = TODO()
    fun unbind(): Unit = TODO()
}

class PreviewView : View() { var controller: CameraController? = TODO() }
